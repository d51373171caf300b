"""Refusals as registries tell them: a status and the error document of the distribution-spec, "Error Codes"."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zlayer.model.errors import (
    Corrupt,
    Deadline,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    Unavailable,
    ZlayerError,
)

STORAGE_FULL = "STORAGE_FULL"
"""Our own code: the specification has none for a disk without space."""


@dataclass(slots=True)
class Refusal(Exception):
    """One error for one client. `message` is for people and says what to do."""

    status: int
    code: str
    message: str
    detail: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    asker: str = ""
    """Who asked, where that is known: for the log."""

    def document(self) -> dict[str, Any]:  # Any: JSON
        return {"errors": [{"code": self.code, "message": self.message, "detail": dict(self.detail)}]}


def unknown_blob(digest: str) -> Refusal:
    return Refusal(404, "BLOB_UNKNOWN", "the repository has no such blob", {"digest": digest})


def unknown_manifest(reference: str) -> Refusal:
    return Refusal(404, "MANIFEST_UNKNOWN", "the repository has no such manifest", {"reference": reference})


def unknown_upload(identity: str) -> Refusal:
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload: it ended or expired; begin anew", {"uuid": identity})


def bad_digest(message: str, digest: str) -> Refusal:
    return Refusal(400, "DIGEST_INVALID", message, {"digest": digest[:200]})


def bad_manifest(message: str, **detail: str) -> Refusal:
    return Refusal(400, "MANIFEST_INVALID", message, detail)


def from_disk(error: OSError) -> Refusal:
    """What a client is told of trouble with our disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return full()
    return broken()


def broken() -> Refusal:
    """Trouble of ours, which is the operator's to know: no paths of this machine go to clients."""
    return Refusal(500, "UNKNOWN", "the registry has trouble of its own; its log says why")


def full() -> Refusal:
    return Refusal(
        507, STORAGE_FULL, "the registry's disk is full: free space there (zlayer registry gc), then push again"
    )


def from_tree(error: ZlayerError) -> Refusal:
    """Our own errors, those of an upstream registry among them, in the specification's codes."""
    match error:
        case Exhausted():
            return full()
        case NotFound():
            return Refusal(404, "NAME_UNKNOWN", error.message)
        case Denied():
            return Refusal(403, "DENIED", error.message)
        case Unavailable() | Deadline():
            wait = str(max(1, round(error.retry_after or 5)))
            return Refusal(503, "UNAVAILABLE", error.message, headers={"Retry-After": wait})
        case Invalid():
            return Refusal(400, "UNSUPPORTED", error.message)
        case Corrupt():
            return Refusal(502, "UNKNOWN", error.message)
        case _:
            return broken()
