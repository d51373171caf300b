"""Each way of mounting an overlay, and the choice between them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from zlayer.image import overlay
from zlayer.image.mountapi import MountError, unmount
from zlayer.image.overlay import WAYS, Stack, mount_overlay

pytestmark = pytest.mark.root


class Place:
    """Two layers, and an upper, a work and a target directory, all open."""

    def __init__(self, root: Path, files: ExitStack) -> None:
        self.root = root
        for name in ("bottom", "top, with: odd\\name", "upper", "work", "target"):
            (root / name).mkdir()
        (root / "bottom/a").write_bytes(b"bottom")
        (root / "bottom/b").write_bytes(b"bottom")
        (root / "top, with: odd\\name/a").write_bytes(b"top")
        self.lowers = [self._open(name, files) for name in ("top, with: odd\\name", "bottom")]
        self.target = self._open("target", files)
        self.stack = Stack(self.lowers, self._open("upper", files), self._open("work", files))

    def _open(self, name: str, files: ExitStack) -> int:
        descriptor = os.open(self.root / name, os.O_PATH)
        files.callback(os.close, descriptor)
        return descriptor


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    chosen = overlay._chosen[:]
    with ExitStack() as files:
        yield Place(tmp_path, files)
    overlay._chosen[:] = chosen
    unmount(tmp_path / "target")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_view(place: Place, way: overlay.Way) -> None:
    way(place.stack, "the key", place.target)
    assert (place.root / "target/a").read_bytes() == b"top"
    assert (place.root / "target/b").read_bytes() == b"bottom"
    (place.root / "target/a").write_bytes(b"new")
    assert (place.root / "upper/a").read_bytes() == b"new"
    (line,) = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place.root) in line]
    assert r"overlay the\040key rw" in line
    for option in ("metacopy=on", "redirect_dir=on", "index=on"):
        assert option not in line


def test_the_first_way_that_works_is_kept(place: Place) -> None:
    def unknown(_stack: Stack, _source: str, _target: int) -> None:
        raise MountError(errno.EINVAL, "not here")

    overlay._chosen[:] = [unknown, overlay.by_path, overlay.by_options]
    mount_overlay(place.stack, "key", place.target)
    assert overlay._chosen == [overlay.by_path]
    assert (place.root / "target/b").exists()


def test_a_refusal_is_raised_not_tried_differently(place: Place) -> None:
    overlay._chosen.clear()
    with pytest.raises(MountError) as caught:
        mount_overlay(Stack(place.lowers, place.target, place.lowers[0]), "key", place.target)
    assert caught.value.strerror
    assert overlay._chosen == []
