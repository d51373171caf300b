"""What waits for the bucket, on disk (zlayer.image.s3.shelf, zlayer.image.s3.standing)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.s3.keeper import standing
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.shelf import Entry, Shelf, Upload
from zlayer.image.s3.standing import Standing
from zlayer.model.units import Bytes

SETTINGS = S3Settings("images", pause=60)
BIG, SMALL = (Entry("sha256:" + c * 64, size) for c, size in (("a", 1000), ("b", 10)))


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_waits_is_there_after_a_restart_the_smallest_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, SETTINGS)
    assert shelf.empty
    shelf.put(BIG)
    shelf.put(SMALL)
    shelf.put(replace(BIG, digest="sha512:" + "c" * 128, media_type="a/b"))
    assert [entry.size for entry in Shelf(tmp_path, SETTINGS).waiting()] == [10, 1000, 1000]
    shelf.drop(SMALL.digest)
    assert shelf.get(SMALL.digest) is None
    assert Shelf(tmp_path, replace(SETTINGS, bucket="another")).empty


def test_an_upload_that_has_begun_stays_known(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, SETTINGS)
    begun = replace(BIG, upload=Upload("id", 5, {1: '"x"', 2: '"y"'}))
    shelf.update(begun)
    shelf.put(BIG)
    assert shelf.get(BIG.digest) == begun
    shelf.put(replace(BIG, replace=True))
    assert shelf.get(BIG.digest) == replace(begun, replace=True)
    shelf.put(BIG)
    assert shelf.get(BIG.digest) == replace(begun, replace=True)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"size":1,"media_type":"","replace":false,"upload":{"id":1}}'])
def test_a_damaged_entry_is_dropped(tmp_path: Path, body: bytes) -> None:
    shelf = Shelf(tmp_path, SETTINGS)
    shelf.put(BIG)
    [file] = (tmp_path / "s3").glob("*/waiting/*")
    file.write_bytes(body)
    assert list(shelf.waiting()) == []
    assert not file.exists()


def test_a_bucket_that_fails_is_left_alone_for_a_while(tmp_path: Path) -> None:
    clock = Time()
    shelf = Shelf(tmp_path, SETTINGS, clock)
    assert shelf.asked()
    shelf.failed("it stalled")
    assert not shelf.asked()
    clock.now += 59
    assert not Shelf(tmp_path, SETTINGS, clock).asked()
    clock.now += 2
    assert shelf.asked()
    shelf.failed("it stalls")
    told = standing(shelf, "")
    assert (told.state, told.why, told.since) == ("failing", "it stalls", 1000.0)
    shelf.answered()
    assert shelf.asked()
    assert (standing(shelf, "").state, standing(shelf, "").since) == ("ok", 1061.0)


def test_how_it_stands(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, SETTINGS)
    shelf.put(BIG)
    shelf.put(SMALL)
    assert standing(shelf, "") == Standing(
        "s3://images/zlayer/blobs/", "https://s3.us-east-1.amazonaws.com", "untried", "", None, 2, Bytes(1010)
    )
