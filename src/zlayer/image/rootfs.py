"""Which driver makes root file systems here: found by trying, or named by the configuration."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from zlayer.image.contract import Mounted, Snapshots
from zlayer.image.copied import CopySnapshots
from zlayer.image.erofs import FILE, ErofsSnapshots, mount_packed, pack
from zlayer.image.fused import FuseOverlaySnapshots, mount_fuse
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import unmount
from zlayer.image.overlay import Stack, mount_overlay
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Exhausted, Unavailable

DRIVERS = ("auto", "overlay", "fuse-overlayfs", "copy", "erofs")
_MAKE: Mapping[str, Callable[[LayerStore, Path], Snapshots]] = {
    "overlay": OverlaySnapshots,
    "fuse-overlayfs": FuseOverlaySnapshots,
    "copy": CopySnapshots,
    "erofs": ErofsSnapshots,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A driver's name, and in words why it and not an earlier one."""

    driver: str
    reason: str

    def make(self, layers: LayerStore, containers: Path) -> Snapshots:
        return _MAKE[self.driver](layers, containers)


def choose(directory: Path, wanted: str = "auto") -> Choice:
    """The first of overlay, fuse-overlayfs and copy that works on `directory`'s file system; `wanted` alone if named.
    Erofs is taken only when it is named.

    Mounts, writes, renames a directory and deletes in a directory of its own that is gone afterwards. On a full disk,
    which says nothing about a driver, it is the first: a daemon must not copy whole trees for having started there.
    `Unavailable` when the named one does not work.
    """
    refused: list[str] = []
    for driver, mount in _TRIED.items():
        if wanted != driver and (wanted != "auto" or driver == "erofs"):
            continue
        try:
            why = _try(directory, mount)
        except Exhausted:
            return Choice(driver, "taken untried, for the disk is full")
        if not why:
            reason = "named by the configuration" if wanted != "auto" else "; ".join(refused) or "it works here"
            return Choice(driver, reason)
        if wanted == driver:
            what = f"the root file system driver {driver} does not work in {directory}: {why}"
            raise Unavailable(what, hint='Set rootfs = "auto" below [daemon], or look at zlayer doctor.')
        refused.append(f"{driver}: {why}")
    return Choice("copy", "; ".join(refused) or "named by the configuration")


Mount = Callable[[list[Path], Path, Path, Path], None]


def _try(directory: Path, mount: Mount) -> str:
    """Why it does not work; empty when it does. `Exhausted` when the disk is too full to tell."""
    trial = directory / f".rootfs-trial-{os.getpid()}-{secrets.token_hex(4)}"
    lower, upper, work, target = (trial / name for name in ("lower", "upper", "work", "rootfs"))
    try:
        for path in (lower / "directory", upper, work, target):
            path.mkdir(parents=True)
        (lower / "file").write_bytes(b"lower")
        mount([lower], upper, work, target)
        (target / "file").write_bytes(b"upper")
        (target / "directory/new").write_bytes(b"")
        (target / "made").mkdir()
        (target / "made").rename(target / "moved")
        (target / "file").unlink()
        if (target / "file").exists() or not (lower / "file").exists() or not (target / "moved").is_dir():
            return "what was written is not what is read"
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Exhausted(f"no space to try {trial}", hint="Free disk space.") from error
        return error.strerror or str(error)
    finally:
        _clear(trial, target)
    return ""


def _clear(trial: Path, target: Path) -> None:
    while unmount(target):
        pass
    remove_tree(trial)


def _mount_overlay(lowers: list[Path], upper: Path, work: Path, target: Path) -> None:
    with ExitStack() as stack:
        opened = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (*lowers, upper, work, target)]
        for descriptor in opened:
            stack.callback(os.close, descriptor)
        *below, over, scratch, where = opened
        mount_overlay(Stack(below, over, scratch), "zlayer-trial", where)


def _mount_fuse(lowers: list[Path], upper: Path, work: Path, target: Path) -> None:
    if not Path("/dev/fuse").exists():
        raise FileNotFoundError(2, "there is no /dev/fuse")
    mount_fuse(lowers, upper, work, target)


def _mount_erofs(lowers: list[Path], upper: Path, work: Path, target: Path) -> None:
    [lower] = lowers
    file = work.with_name(FILE)
    pack(lower, file)
    mount_packed(file, work.with_name("view"), Mounted("zlayer-trial", target, upper), work)


_TRIED: Mapping[str, Mount] = {"overlay": _mount_overlay, "fuse-overlayfs": _mount_fuse, "erofs": _mount_erofs}
