from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.image.copying import Overlaying

HOLE = 8 << 20


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives files away")
def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(HOLE)
        file.write(b"tail")
        file.truncate(2 * HOLE)
    below, made = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target))
    try:
        Overlaying(made).lay(below)
    finally:
        os.close(below)
        os.close(made)
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < HOLE
