"""The mount calls, on tmpfs, which every kernel has."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.mountapi import FsContext, MountError, mount_with_options, syncfs, unmount

pytestmark = pytest.mark.root


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "on").mkdir()
    descriptor = os.open(tmp_path / "on", os.O_PATH)
    yield descriptor
    os.close(descriptor)
    while unmount(tmp_path / "on"):
        pass


def test_a_context_mounts_what_it_was_told(tmp_path: Path, target: int) -> None:
    with FsContext("tmpfs") as context:
        context.set_string("size", "1m")
        context.mount(target)
    assert (tmp_path / "on").is_mount()
    assert os.statvfs(tmp_path / "on").f_blocks * os.statvfs(tmp_path / "on").f_frsize == 1 << 20
    assert unmount(tmp_path / "on")
    assert not (tmp_path / "on").is_mount()


def test_the_kernels_own_words_are_passed_on() -> None:
    with FsContext("tmpfs") as context, pytest.raises(MountError, match="huge-nonsense") as caught:
        context.set_string("huge-nonsense", "1")
    assert caught.value.errno == errno.EINVAL


def test_an_unknown_file_system_is_told() -> None:
    with pytest.raises(MountError, match="fsopen nosuchfs") as caught:
        FsContext("nosuchfs")
    assert caught.value.errno == errno.ENODEV


def test_the_old_call_mounts_too_within_one_page(tmp_path: Path, target: int) -> None:
    mount_with_options("tmpfs", "named", target, ["size=1m", "mode=0700"])
    assert (tmp_path / "on").is_mount()
    assert f"{tmp_path}/on tmpfs" in Path("/proc/self/mounts").read_text()
    with pytest.raises(MountError, match="one page") as caught:
        mount_with_options("tmpfs", "named", target, ["size=1m"] * 600)
    assert caught.value.errno == errno.E2BIG


def test_unmounting_nothing_is_no_error(tmp_path: Path) -> None:
    assert not unmount(tmp_path)
    assert not unmount(tmp_path / "never")


def test_a_busy_mount_is_detached(tmp_path: Path, target: int) -> None:
    mount_with_options("tmpfs", "named", target, ["size=1m"])
    with (tmp_path / "on/open").open("wb") as file:
        assert unmount(tmp_path / "on")
        assert not (tmp_path / "on").is_mount()
        file.write(b"goes on")


def test_a_link_to_a_mount_is_not_followed(tmp_path: Path, target: int) -> None:
    mount_with_options("tmpfs", "named", target, ["size=1m"])
    (tmp_path / "link").symlink_to("on")
    assert not unmount(tmp_path / "link")
    assert (tmp_path / "on").is_mount()


def test_syncfs_takes_a_directory(tmp_path: Path) -> None:
    syncfs(tmp_path)
    with pytest.raises(FileNotFoundError):
        syncfs(tmp_path / "never")
