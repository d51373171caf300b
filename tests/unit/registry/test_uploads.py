"""Uploads: any order of appends, cuts and restarts ends in the right blob or in none."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.registry.faults import Refusal
from zlayer.registry.repositories import Repositories
from zlayer.registry.uploads import EXPIRY, Uploads
from zlayer.testing.netns import short_directory


@given(
    st.lists(st.tuples(st.sampled_from(["append", "cut", "restart"]), st.integers(0, 50)), max_size=12),
    st.sampled_from(["sha256", "sha512"]),
)
def test_whatever_happens_to_it_the_content_is_right(steps: list[tuple[str, int]], algorithm: str) -> None:
    with short_directory() as directory:
        repositories = Repositories(directory)
        uploads = Uploads(repositories)
        identity, expected = uploads.begin("a/b").identity, b""
        for what, number in steps:
            if what == "restart":
                uploads = Uploads(repositories)
            upload = uploads.find("a/b", identity)
            if what == "append":
                data = os.urandom(number)
                uploads.append(upload, [data])
                expected += data
            elif what == "cut":
                expected = expected[:number]
                uploads.cut(upload, len(expected))
            assert upload.size == len(expected)
        digest = f"{algorithm}:{hashlib.new(algorithm, expected).hexdigest()}"
        uploads.finish(uploads.find("a/b", identity), digest)
        assert repositories.has_blob("a/b", digest)
        assert not repositories.has_blob("a", digest)
        assert repositories.blobs.path(digest).read_bytes() == expected
        assert list(uploads.all()) == []


def test_a_wrong_digest_ends_it(tmp_path: Path) -> None:
    uploads = Uploads(Repositories(tmp_path))
    upload = uploads.begin("a")
    uploads.append(upload, [b"abc"])
    with pytest.raises(Refusal) as told:
        uploads.finish(upload, "sha256:" + "0" * 64)
    assert told.value.code == "DIGEST_INVALID"
    with pytest.raises(Refusal):
        uploads.find("a", upload.identity)


def test_those_without_a_byte_for_long_expire(tmp_path: Path) -> None:
    now = 0.0
    uploads = Uploads(Repositories(tmp_path), clock=lambda: now)
    old, young, elsewhere = uploads.begin("a"), uploads.begin("a"), uploads.begin("a")
    for upload, age in ((old, EXPIRY + 9), (young, EXPIRY - 9), (elsewhere, EXPIRY + 9)):
        for file in (upload.path, upload.path.with_name("about.json"), upload.path.parent):
            os.utime(file, (1e9 - age, 1e9 - age))
    now = 1e9
    assert uploads.expire() == 2
    assert uploads.find("a", young.identity) is young
    with pytest.raises(Refusal):
        uploads.find("a", old.identity)


def test_a_limit(tmp_path: Path) -> None:
    uploads = Uploads(Repositories(tmp_path), most=5)
    upload = uploads.begin("a")
    uploads.append(upload, [b"12345"])
    with pytest.raises(Refusal) as told:
        uploads.append(upload, [b"6"])
    assert told.value.status == 413
