"""Sparse files in all four forms GNU tar writes, made by GNU tar itself where it is there."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from zlayer.image.extract import extract_layer
from zlayer.image.tar_sparse import Sparse, from_data, from_old_header, from_records
from zlayer.model.errors import Corrupt
from zlayer.testing.hostile_tars import padded


@pytest.mark.root
@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
@pytest.mark.parametrize("form", ["--format=gnu", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("pieces", [1, 3, 60], ids=["one", "few", "many"])
def test_what_gnu_tar_packs_comes_out_with_its_holes(tmp_path: Path, form: str, pieces: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "holes").open("wb") as file:
        for number in range(pieces):
            file.seek(number << 17)
            file.write(bytes([1 + number]) * 4096)
        file.truncate(pieces << 17)
    how = [form] if form.startswith("--") else ["--format=posix", f"--sparse-version={form}"]
    command = ["tar", "--sparse", "--hole-detection=raw", *how, "-C", str(source), "-cf", "-", "holes"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(raw) < pieces << 17
    extract_layer(io.BytesIO(raw), target)
    assert (target / "holes").read_bytes() == (source / "holes").read_bytes()
    assert (target / "holes").stat().st_blocks * 512 < pieces << 17


def test_forms_in_pax_records() -> None:
    size = (b"GNU.sparse.size", b"100")
    first = [(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"5")]
    second = [(b"GNU.sparse.offset", b"50"), (b"GNU.sparse.numbytes", b"6")]
    wanted = Sparse(100, ((0, 5), (50, 6)))
    assert from_records([size, *first, *second]) == wanted
    assert from_records([size, (b"GNU.sparse.map", b"0,5,50,6")]) == wanted
    assert from_records([size, (b"GNU.sparse.map", b"")]) == Sparse(100, ())
    assert from_records([(b"path", b"x")]) is None
    with pytest.raises(Corrupt, match="alternate"):
        from_records([size, *reversed(first)])


def test_a_map_in_the_data_may_span_blocks() -> None:
    numbers = [number for at in range(100) for number in (at * 1000, 10)]
    data = io.BytesIO(padded(b"".join(b"%d\n" % number for number in (100, *numbers))) + b"data")
    sparse = from_data({b"GNU.sparse.realsize": b"100000"}, data.read)
    assert sparse.segments[-1] == (99000, 10)
    assert data.read() == b"data"


def test_old_headers_go_on_in_blocks() -> None:
    def entry(offset: int) -> bytes:
        return b"%011o\0%011o\0" % (offset, 1)

    head = bytearray(512)
    head[386:482] = b"".join(entry(at) for at in range(4))
    head[482] = 1
    head[483:495] = b"%011o\0" % 50
    more = b"".join(entry(at) for at in range(4, 10)).ljust(512, b"\0")
    sparse = from_old_header(bytes(head), io.BytesIO(more).read)
    assert sparse == Sparse(50, tuple((at, 1) for at in range(10)))


@pytest.mark.parametrize(
    ("sparse", "stored", "says"),
    [
        (Sparse(10, ((0, 5), (4, 1))), 6, "overlap"),
        (Sparse(10, ((5, 6),)), 6, "behind"),
        (Sparse(10, ((0, 5),)), 6, "add up"),
    ],
)
def test_maps_that_cannot_be_are_corrupt(sparse: Sparse, stored: int, says: str) -> None:
    with pytest.raises(Corrupt, match=says):
        sparse.checked(stored)
