"""What a path below `/v2/` asks for. Names, tags, digests and upload ids are checked here, before any touches a disk.

Source: OCI distribution-spec 1.1, "Endpoints" and "Pulling manifests" (the grammar of names and tags).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from zlayer.image.reference import is_digest
from zlayer.registry.faults import Refusal, bad_digest, unknown_upload

MAX_NAME = 255
_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_WORD}(?:/{_WORD})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_UPLOAD = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Kind = Literal["ping", "catalog", "manifest", "blob", "begin", "upload", "tags", "referrers"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for; `item` is the tag, digest or upload id, where there is one."""

    kind: Kind
    name: str = ""
    item: str = ""


def target_of(path: str) -> Target:
    """The target of a decoded request path. Raises `Refusal`: 404 for what is no endpoint, 400 for a bad name."""
    if path in ("/v2", "/v2/"):
        return Target("ping")
    if path == "/v2/_catalog":
        return Target("catalog")
    parts = path.removeprefix("/v2/").split("/")
    if not path.startswith("/v2/") or len(parts) < 3:
        raise Refusal(404, "UNSUPPORTED", "this is no path of the OCI distribution-spec")
    match parts:
        case [*name, "manifests", item]:
            return Target("manifest", checked_name(name), checked_reference(item))
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""]:
            return Target("begin", checked_name(name))
        case [*name, "blobs", "uploads", item]:
            return Target("upload", checked_name(name), checked_upload(item))
        case [*name, "blobs", item]:
            return Target("blob", checked_name(name), checked_digest(item))
        case [*name, "tags", "list"]:
            return Target("tags", checked_name(name))
        case [*name, "referrers", item]:
            return Target("referrers", checked_name(name), checked_digest(item))
    raise Refusal(404, "UNSUPPORTED", "this is no path of the OCI distribution-spec")


def checked_name(parts: list[str] | str) -> str:
    """A repository's name: what could climb out of a directory, or hide in one, is no name."""
    name = parts if isinstance(parts, str) else "/".join(parts)
    if not is_name(name):
        raise Refusal(
            400,
            "NAME_INVALID",
            f"a repository is lower-case words joined by / . _ or -, at most {MAX_NAME} characters",
            {"name": name[:MAX_NAME]},
        )
    return name


def is_name(text: str) -> bool:
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def checked_reference(item: str) -> str:
    """A tag or a digest."""
    if ":" in item:
        return checked_digest(item)
    if not is_tag(item):
        raise Refusal(
            400, "TAG_INVALID", "a tag is 1 to 128 letters, digits, _ . or -, no . or - first", {"tag": item[:200]}
        )
    return item


def checked_digest(item: str) -> str:
    if not is_digest(item):
        raise bad_digest("a digest is sha256: and 64, or sha512: and 128 lower-case hex digits", item)
    return item


def checked_upload(item: str) -> str:
    if not _UPLOAD.fullmatch(item):
        raise unknown_upload(item[:64])
    return item
