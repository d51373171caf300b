"""Blobs on their way up: parts, memory, and what ends an upload (zlayer.image.s3.send, zlayer.image.s3.keep)."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.rate import Bucket as Rate
from zlayer.image.s3.bucket import Bucket
from zlayer.image.s3.keep import keep
from zlayer.image.s3.keeper import standing
from zlayer.image.s3.order import Done, KeepOrder
from zlayer.image.s3.send import MIB, Hands, part_size, send
from zlayer.image.s3.shelf import Entry, Shelf, Upload
from zlayer.model.errors import Denied, Failed, Unavailable
from zlayer.testing.s3_scripted import ENVIRON, Scripted

BEGUN = b"<R><UploadId>u</UploadId></R>"


def store(root: Path, body: bytes) -> Entry:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    BlobStore(root / "blobs").write(digest, body)
    return Entry(digest, len(body))


def serve(scripted: Scripted) -> None:
    """An empty bucket that takes everything."""

    def answer(method: str, target: str) -> tuple[int, bytes]:
        if method == "HEAD":
            return 404, b""
        if method == "GET":
            return 200, b"<R><IsTruncated>false</IsTruncated></R>"
        return 200, BEGUN if method == "POST" else b""

    scripted.rest = answer


def hands(root: Path, scripted: Scripted, part: int = 1000) -> Hands:
    return Hands(
        Bucket(scripted.settings, ENVIRON, tries=1),
        BlobStore(root / "blobs"),
        Shelf(root, scripted.settings),
        Rate(0),
        part,
    )


@pytest.mark.parametrize(
    ("size", "puts"), [(0, [0]), (1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])]
)
def test_parts(tmp_path: Path, scripted: Scripted, size: int, puts: list[int]) -> None:
    serve(scripted)
    entry = store(tmp_path, os.urandom(size))
    assert send(hands(tmp_path, scripted), entry) == "sent"
    assert sorted((count for method, _, count in scripted.asked if method == "PUT"), reverse=True) == puts
    posts = [target for method, target, _ in scripted.asked if method == "POST"]
    assert [target.partition("?")[2] for target in posts] == ([] if len(puts) == 1 else ["uploads=", "uploadId=u"])


def test_a_blob_of_too_many_parts_gets_larger_ones() -> None:
    assert part_size(1 << 30) == 16 * MIB
    huge = 4 << 40
    assert part_size(huge) < 5 << 30 < huge
    assert -(-huge // part_size(huge)) <= 1000


def test_parts_that_have_arrived_are_not_sent_again(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    entry = replace(store(tmp_path, os.urandom(2500)), upload=Upload("old", 1000, {1: '"a"', 3: '"c"'}))
    send(hands(tmp_path, scripted), entry)
    assert [target.partition("?")[2] for method, target, _ in scripted.asked if method == "PUT"] == [
        "partNumber=2&uploadId=old"
    ]


def test_parts_of_another_size_begin_anew(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    entry = replace(store(tmp_path, os.urandom(2500)), upload=Upload("old", 999, {1: '"a"'}))
    send(hands(tmp_path, scripted), entry)
    assert ("DELETE", f"/images/p/{entry.digest.replace(':', '/')}?uploadId=old", 0) in scripted.asked
    assert len([1 for method, _, _ in scripted.asked if method == "PUT"]) == 3


def test_an_upload_of_what_is_gone_is_ended(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    shelf = Shelf(tmp_path, scripted.settings)
    entry = Entry("sha256:" + "a" * 64, 5, upload=Upload("old", 1000))
    shelf.put(entry)
    assert send(hands(tmp_path, scripted), entry) == "gone"
    assert [method for method, _, _ in scripted.asked] == ["DELETE"]
    assert shelf.empty


def test_a_failed_part_keeps_what_has_arrived(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    fine = scripted.rest
    scripted.rest = lambda method, target: (403, b"") if "partNumber=3" in target else fine(method, target)
    entry, one = store(tmp_path, os.urandom(2500)), hands(tmp_path, scripted)
    with pytest.raises(Denied):
        send(one, entry)
    kept = one.shelf.get(entry.digest)
    assert kept is not None
    assert kept.upload is not None
    assert set(kept.upload.etags) <= {1, 2}


def test_a_large_blob_is_never_in_memory(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    body = bytes(MIB)
    whole = hashlib.sha256()
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(96):
            file.write(body)
            whole.update(body)
    blobs = BlobStore(tmp_path / "blobs")
    final = blobs.path(f"sha256:{whole.hexdigest()}")
    final.parent.mkdir(parents=True)
    path.rename(final)
    entry = Entry(f"sha256:{whole.hexdigest()}", 96 * MIB)
    one = hands(tmp_path, scripted, part=16 * MIB)
    tracemalloc.start()
    try:
        assert send(one, entry) == "sent"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(count for method, _, count in scripted.asked if method == "PUT") == 96 * MIB
    assert peak < 8 * MIB


def order(root: Path, scripted: Scripted) -> KeepOrder:
    made = KeepOrder(root, scripted.settings)
    assert KeepOrder.read(made.document()) == made
    return made


def test_all_that_waits_goes_up(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    shelf, told = Shelf(tmp_path, scripted.settings), list[str]()
    for size in (10, 20):
        shelf.put(store(tmp_path, os.urandom(size)))
    done = keep(order(tmp_path, scripted), ENVIRON, lambda _digest, phase, _done, _total: told.append(phase))
    assert done == Done(sent=2, bytes=30)
    assert told == ["sent", "sent"]
    assert shelf.empty
    assert standing(shelf, "").state == "ok"


def test_one_that_is_refused_does_not_stop_the_others(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    shelf = Shelf(tmp_path, scripted.settings)
    bad, good = store(tmp_path, b"1"), store(tmp_path, b"22")
    for entry in (bad, good):
        shelf.put(entry)
    fine = scripted.rest
    scripted.rest = lambda method, target: (
        (400, b"") if method == "PUT" and bad.digest[7:] in target else fine(method, target)
    )
    with pytest.raises(Failed):
        keep(order(tmp_path, scripted), ENVIRON, lambda *_: None)
    assert [entry.digest for entry in shelf.waiting()] == [bad.digest]
    assert shelf.asked(), "pulls may go on asking"


def test_a_bucket_that_is_away_is_not_asked_by_pulls(tmp_path: Path, scripted: Scripted) -> None:
    gone = replace(scripted.settings, endpoint="http://127.0.0.1:1")
    shelf = Shelf(tmp_path, gone)
    shelf.put(store(tmp_path, b"1"))
    with pytest.raises(Unavailable):
        keep(KeepOrder(tmp_path, gone), ENVIRON, lambda *_: None)
    assert not shelf.asked()


def test_uploads_that_nobody_ended_are_ended_after_a_day(tmp_path: Path, scripted: Scripted) -> None:
    serve(scripted)
    shelf = Shelf(tmp_path, scripted.settings)
    uploads = "".join(
        f"<Upload><Key>p/k</Key><UploadId>{name}</UploadId><Initiated>{when}</Initiated></Upload>"
        for name, when in (("old", "2020-01-01T00:00:00Z"), ("new", "2020-01-02T11:00:00Z"))
    )
    fine = scripted.rest
    scripted.rest = lambda method, target: (
        (200, f"<R><IsTruncated>false</IsTruncated>{uploads}</R>".encode()) if method == "GET" else fine(method, target)
    )
    noon = 1577966400.0  # 2020-01-02T12:00:00Z
    assert keep(order(tmp_path, scripted), ENVIRON, lambda *_: None, lambda: noon).aborted == 1
    assert [target for method, target, _ in scripted.asked if method == "DELETE"] == ["/images/p/k?uploadId=old"]
    scripted.rest = lambda *_: (403, b"")
    assert keep(order(tmp_path, scripted), ENVIRON, lambda *_: None).aborted == 0
    assert shelf.empty
