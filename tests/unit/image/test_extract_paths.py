"""Names from archives and the directories they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.extract_paths import DEPTH, Directories, clean_path, is_directory, is_link, is_whiteout
from zlayer.model.errors import Corrupt


@given(st.lists(st.sampled_from([b"a", b"b\xff", b".", b"..", b"", b".a", b"..."])).map(b"/".join))
def test_a_clean_path_is_relative_and_climbs_nowhere(name: bytes) -> None:
    parts = name.split(b"/")
    if b".." in parts:
        with pytest.raises(Corrupt):
            clean_path(name)
    else:
        assert clean_path(name) == b"/".join(part for part in parts if part not in (b"", b"."))


def test_lengths_are_bounded() -> None:
    assert clean_path(b"n" * 255) == b"n" * 255
    assert clean_path(b"a/" * DEPTH)
    for name in (b"n" * 256, b"a/" * (DEPTH + 1), b"abcdefgh/" * 500):
        with pytest.raises(Corrupt):
            clean_path(name)


@pytest.fixture
def directories(tmp_path: Path) -> Iterator[Directories]:
    opened = Directories(tmp_path)
    yield opened
    opened.close()


def test_missing_directories_are_made_once(directories: Directories, tmp_path: Path) -> None:
    first = directories.open(b"a/b")
    assert directories.open(b"a/b") == first
    assert os.fstat(first).st_ino == (tmp_path / "a/b").stat().st_ino
    assert list(directories.made) == [b"a", b"a/b"]
    with pytest.raises(FileNotFoundError):
        directories.open(b"a/c", make=False)


def test_no_link_is_followed(directories: Directories, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_bytes(b"")
    for path, says in ((b"link", "a link"), (b"link/x", "a link"), (b"file/x", "no directory")):
        with pytest.raises(Corrupt, match=says):
            directories.open(path)
    assert list((tmp_path / "real").iterdir()) == []


def test_forgotten_directories_are_opened_anew(directories: Directories, tmp_path: Path) -> None:
    directories.open(b"a/b")
    directories.open(b"ab")
    directories.forget(b"a")
    (tmp_path / "a/b").rmdir()
    (tmp_path / "a").rename(tmp_path / "old")
    assert os.fstat(directories.open(b"a")).st_ino != (tmp_path / "old").stat().st_ino


def test_trimming_bounds_the_open_files(directories: Directories) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(1000):
        directories.trim()
        directories.open(b"d%d" % number)
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 300
    assert stat.S_ISDIR(os.fstat(directories.open(b"d0")).st_mode)


@pytest.mark.root
def test_a_whiteout_in_the_way_gives_an_opaque_directory(directories: Directories, tmp_path: Path) -> None:
    os.mknod(tmp_path / "gone", stat.S_IFCHR)
    root = directories.open(b"")
    assert (is_whiteout(root, b"gone"), is_directory(root, b"gone"), is_link(root, b"gone")) == (True, False, False)
    directories.open(b"gone/below")
    assert os.getxattr(tmp_path / "gone", "trusted.overlay.opaque") == b"y"
