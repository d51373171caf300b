"""Small files, read and written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.runtime.oci import smallfiles


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for text in (b"longer than the next", b"short", b""):
        smallfiles.write(path, text)
        assert smallfiles.read(path) == text
    assert path.stat().st_mode & 0o777 == 0o600


def test_errors_are_those_of_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        smallfiles.read(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        smallfiles.write(tmp_path / "none" / "f", b"")
