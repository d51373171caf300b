"""What clients are told of each kind of trouble."""

from __future__ import annotations

import errno

import pytest

from zlayer.model.errors import Corrupt, Denied, Exhausted, Failed, Invalid, NotFound, Unavailable, ZlayerError
from zlayer.registry.faults import from_disk, from_tree


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Exhausted("x"), 507, "STORAGE_FULL"),
        (NotFound("x"), 404, "NAME_UNKNOWN"),
        (Denied("x"), 403, "DENIED"),
        (Unavailable("x", retry_after=7.4), 503, "UNAVAILABLE"),
        (Invalid("x"), 400, "UNSUPPORTED"),
        (Corrupt("x"), 502, "UNKNOWN"),
        (Failed("cannot write /data/x"), 500, "UNKNOWN"),
    ],
)
def test_errors_of_the_tree(error: ZlayerError, status: int, code: str) -> None:
    refusal = from_tree(error)
    assert (refusal.status, refusal.code) == (status, code)
    assert "/data" not in refusal.message
    assert refusal.headers.get("Retry-After") == ("7" if status == 503 else None)


def test_errors_of_the_disk() -> None:
    assert from_disk(OSError(errno.ENOSPC, "full")).status == 507
    assert from_disk(OSError(errno.EIO, "broken", "/data/x")).document()["errors"][0]["code"] == "UNKNOWN"
