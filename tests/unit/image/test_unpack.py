"""One layer unpacked, in this thread: from a download, and from what has arrived whole."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from zlayer.image.blobs import BlobStore
from zlayer.image.layer_seal import seal
from zlayer.image.unpack import unpack_here
from zlayer.testing.imagery_tar import Tar

RAW = Tar().file("deep/file", b"content").finish()


class Arriving:
    """A download of which each byte passes through, and bytes after the archive's last frame."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def readinto(self, buffer: memoryview, /) -> int:
        piece = self._body[: min(len(buffer), 100)]
        buffer[: len(piece)] = piece
        self._body = self._body[len(piece) :]
        return len(piece)

    @property
    def left(self) -> int:
        return len(self._body)


def test_a_download_is_read_to_its_end(tmp_path: Path) -> None:
    (target := tmp_path / "t").mkdir()
    arriving = Arriving(gzip.compress(RAW) + bytes(5000))
    with BlobStore(tmp_path).partial("sha256:" + "0" * 64) as partial:
        done = unpack_here(partial, arriving, target, lambda _: None)
    assert arriving.left == 0
    assert done.diff_id == f"sha256:{hashlib.sha256(RAW).hexdigest()}"
    assert done.marks.implied == {b"deep"}
    assert done.seal == seal(target)
    assert (target / "deep/file").read_bytes() == b"content"


def test_what_is_here_whole_is_read_from_disk_and_told(tmp_path: Path) -> None:
    (target := tmp_path / "t").mkdir()
    body, told = gzip.compress(RAW), list[int]()
    with BlobStore(tmp_path).partial("sha256:" + "0" * 64) as partial:
        partial.append(memoryview(body))
        done = unpack_here(partial, None, target, told.append)
    assert done.diff_id == f"sha256:{hashlib.sha256(RAW).hexdigest()}"
    assert told[-1] == len(body)
