from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.model.errors import Corrupt, Invalid

BODY = b"content"
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
OTHER = "sha256:" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def names(store: BlobStore) -> list[str]:
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


def test_write_and_read(store: BlobStore) -> None:
    assert store.read(DIGEST, 100) is None
    store.write(DIGEST, BODY)
    store.write(DIGEST, BODY)
    assert store.read(DIGEST, 100) == BODY
    assert store.has(DIGEST)
    assert store.has(DIGEST, len(BODY))
    assert not store.has(DIGEST, 3)
    assert store.read(DIGEST, 3) is None, "longer than the caller takes"
    assert list(store.list()) == [DIGEST]
    assert names(store) == [f"sha256/{DIGEST[7:]}"]


def test_sha512(store: BlobStore) -> None:
    digest = f"sha512:{hashlib.sha512(BODY).hexdigest()}"
    store.write(digest, BODY)
    assert store.read(digest, 100) == BODY
    assert list(store.list()) == [digest]


def test_what_does_not_match_is_refused(store: BlobStore) -> None:
    with pytest.raises(Corrupt):
        store.write(OTHER, BODY)
    assert names(store) == []


def test_a_damaged_blob_is_deleted(store: BlobStore) -> None:
    store.write(DIGEST, BODY)
    store.path(DIGEST).write_bytes(b"altered")
    assert store.read(DIGEST, 100) is None
    assert not store.has(DIGEST)


@pytest.mark.parametrize("digest", ["", "sha256:..", "sha256:" + "../" * 21 + "x", "md5:" + "0" * 32])
def test_only_digests_name_blobs(store: BlobStore, digest: str) -> None:
    with pytest.raises(Invalid):
        store.path(digest)


def test_a_partial_grows_is_left_and_taken_up_again(store: BlobStore) -> None:
    with store.partial(DIGEST) as partial:
        partial.append(memoryview(BODY[:3]))
    assert list(store.partials()) == [DIGEST]
    with store.partial(DIGEST) as partial:
        assert partial.size == 3
        partial.append(memoryview(BODY[3:]))
        buffer = bytearray(10)
        assert partial.readinto(memoryview(buffer), 2) == len(BODY) - 2
        partial.commit()
    assert store.read(DIGEST, 100) == BODY
    assert names(store) == [f"sha256/{DIGEST[7:]}"]


def test_an_empty_partial_leaves_nothing(store: BlobStore) -> None:
    with store.partial(DIGEST):
        pass
    assert names(store) == []


def test_a_discarded_partial_leaves_nothing(store: BlobStore) -> None:
    with store.partial(DIGEST) as partial:
        partial.append(memoryview(BODY))
        partial.discard()
    assert names(store) == []


def test_reset_begins_again(store: BlobStore) -> None:
    with store.partial(DIGEST) as partial:
        partial.append(memoryview(b"wrong"))
        partial.reset()
        partial.append(memoryview(BODY))
        partial.commit()
    assert store.read(DIGEST, 100) == BODY


def test_an_adopted_blob_reads_as_if_it_had_arrived(store: BlobStore) -> None:
    store.write(DIGEST, BODY)
    with store.partial(DIGEST) as partial:
        partial.adopt()
        assert partial.size == len(BODY)
        partial.commit()
    assert store.read(DIGEST, 100) == BODY
    assert names(store) == [f"sha256/{DIGEST[7:]}"]


def test_an_adopted_blob_that_is_wrong_is_fetched_anew(store: BlobStore) -> None:
    store.write(DIGEST, BODY)
    store.path(DIGEST).write_bytes(b"altered")
    with store.partial(DIGEST) as partial:
        partial.adopt()
        partial.reset()
        assert not store.has(DIGEST)
        partial.append(memoryview(BODY))
        partial.commit()
    assert store.read(DIGEST, 100) == BODY


def test_one_at_a_time(store: BlobStore) -> None:
    """The second waits for the first, and then sees that the blob is there."""
    seen: list[bool] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with store.partial(DIGEST) as partial:
            seen.append(store.has(DIGEST) and partial.size == 0)

    with store.partial(DIGEST) as partial:
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        partial.append(memoryview(BODY))
        assert seen == []
        partial.commit()
    thread.join()
    assert seen == [True]
    assert names(store) == [f"sha256/{DIGEST[7:]}"]


def test_remove_and_sweep(store: BlobStore) -> None:
    store.write(DIGEST, BODY)
    with store.partial(OTHER) as partial:
        partial.append(memoryview(b"12345"))
    (store.root / "tmp" / "left").write_bytes(b"half")
    store.sweep()
    assert names(store) == sorted([f"sha256/{DIGEST[7:]}", f"partial/{OTHER[7:]}"])
    assert (store.remove(DIGEST), store.remove(OTHER), store.remove(OTHER)) == (len(BODY), 5, 0)
    assert names(store) == []


def test_files_are_private(store: BlobStore) -> None:
    store.write(DIGEST, BODY)
    assert (store.root / "sha256").stat().st_mode & 0o077 == 0
