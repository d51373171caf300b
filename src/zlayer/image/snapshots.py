"""Container root file systems: the image's layers under a writable directory, by overlayfs."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from zlayer.image.contract import Image, Mounted
from zlayer.image.implied import borrowed, haunted, level
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import MountError, unmount
from zlayer.image.overlay import Stack, mount_overlay
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Conflict, Exhausted, Failed, NotFound, Unsupported, ZlayerError

_THREADS = 4
_OCTAL = re.compile(rb"\\([0-7]{3})")
_ROOTFS = re.compile(rb"[^/]+/rootfs")
_LAYER_LIMIT = 500
LEVELLED = "levelled"
"""A file beside the rootfs: its directories that no entry describes were described."""
OPEN_FILES = "Raise the daemon's limit of open files (ulimit -Hn, LimitNOFILE)."

T = TypeVar("T")


class OverlaySnapshots:
    """Implements `Snapshots`. Below each container's directory: `upper/`, `work/` (overlayfs's own), `rootfs/`.

    An upper left by an earlier life of the same key is used again. Layers are never written to.
    `containers` is the directory all containers live in: `list` looks only there.
    """

    def __init__(self, layers: LayerStore, containers: Path) -> None:
        self._layers = layers
        self._containers = containers
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._opaque: dict[str, bool] = {}
        self._borrowed: dict[tuple[str, ...], list[tuple[bytes, Path]]] = {}
        """By an image's layers, which never change."""
        self._busy: dict[str, anyio.Lock] = {}

    async def mount(self, image: Image, key: str, directory: Path) -> Mounted:
        return await self._alone(key, lambda: self._mount(image, key, directory))

    async def unmount(self, key: str, directory: Path, *, discard: bool) -> None:
        await self._alone(key, lambda: self._unmount(directory, discard=discard))

    async def list(self) -> Sequence[str]:
        return await anyio.to_thread.run_sync(keys_below, self._containers, limiter=self._limiter)

    async def _alone(self, key: str, work: Callable[[], T]) -> T:
        """`work` in a thread; calls for one key wait for each other, so that nothing is mounted twice."""
        async with turn(self._busy, key):
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def _mount(self, image: Image, key: str, directory: Path) -> Mounted:
        mounted = Mounted(key, directory / "rootfs", directory / "upper")
        try:
            if not is_mount_point(mounted.rootfs):
                self._assemble(image, mounted, directory / "work")
            self._level(image, mounted)
        except MountError as error:
            raise _refused(error, image, directory) from error
        except OSError as error:
            raise unmakeable(error, directory) from error
        return mounted

    def _level(self, image: Image, mounted: Mounted) -> None:
        """Once in a container's life, before it runs: what it does to these directories later is its own."""
        layers = tuple(image.layers)
        if layers not in self._borrowed:
            stack = [(self._layers.path(one), self._layers.marks(one)) for one in layers]
            self._borrowed[layers] = [*haunted(stack), *borrowed(stack)]
        done = mounted.rootfs.with_name(LEVELLED)
        if self._borrowed[layers] and not done.exists():
            level(self._borrowed[layers], mounted.rootfs)
            done.touch()

    def _assemble(self, image: Image, mounted: Mounted, work: Path) -> None:
        with ExitStack() as open_files:
            lowers = self._open_layers(image, open_files)
            for path in (mounted.upper, work, mounted.rootfs):
                path.mkdir(parents=True, exist_ok=True)
            mounted.upper.chmod(0o755)  # the container's root directory, whatever the umask
            if not lowers:  # overlayfs wants a lower: an image from scratch gets an empty one
                lowers = [_open(_empty_beside(work), open_files)]
            stack = Stack(lowers, _open(mounted.upper, open_files), _open(work, open_files))
            mount_overlay(stack, mounted.key, _open(mounted.rootfs, open_files))

    def _open_layers(self, image: Image, open_files: ExitStack) -> Sequence[int]:
        """The layers, top first, down to the first whose root is opaque: overlayfs ignores it there."""
        opened: list[int] = []
        for diff_id in reversed(image.layers):
            path = self._layers.path(diff_id)
            try:
                opened.append(_open(path, open_files))
                if diff_id not in self._opaque:
                    self._opaque[diff_id] = _is_opaque(path)
            except FileNotFoundError:
                raise missing_layer(image, diff_id) from None
            if self._opaque[diff_id]:
                break
        if len(opened) > _LAYER_LIMIT:
            raise Unsupported(
                f"{image.reference} has {len(opened)} layers; overlayfs stacks {_LAYER_LIMIT}",
                hint="Build it with fewer layers.",
            )
        return opened

    def _unmount(self, directory: Path, *, discard: bool) -> None:
        rootfs = directory / "rootfs"
        try:
            while unmount(rootfs):
                pass
            if discard:
                for name in ("rootfs", "work", "upper", "empty", "tree", LEVELLED):
                    remove_tree(directory / name)
        except OSError as error:
            raise Failed(
                f"cannot take down {rootfs}: {error.strerror}",
                hint=f"See what uses it: grep {directory.name} /proc/*/mountinfo",
            ) from error


@asynccontextmanager
async def turn(locks: dict[str, anyio.Lock], key: str) -> AsyncIterator[None]:
    """One after another by key. A lock that nobody wants is not kept."""
    lock = locks.setdefault(key, anyio.Lock())
    try:
        async with lock:
            yield
    finally:
        statistics = lock.statistics()
        if not statistics.locked and not statistics.tasks_waiting:
            locks.pop(key, None)


def keys_below(containers: Path) -> Sequence[str]:
    """Names of the directories in `containers` whose `rootfs/` is a mount point, whatever is mounted."""
    below = os.fsencode(containers.resolve()) + b"/"
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = (unescape(line.split(b" ", 5)[4]) for line in lines)
    places = {point.removeprefix(below) for point in points if point.startswith(below)}
    return sorted(os.fsdecode(place[: -len(b"/rootfs")]) for place in places if _ROOTFS.fullmatch(place))


def is_mount_point(path: Path) -> bool:
    """Two stats, whatever the number of mounts. A missing path is none."""
    try:
        return os.lstat(path).st_dev != os.lstat(path.parent).st_dev
    except FileNotFoundError:
        return False


def unescape(field: bytes) -> bytes:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)


def _open(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _empty_beside(work: Path) -> Path:
    empty = work.with_name("empty")
    empty.mkdir(exist_ok=True)
    return empty


def _is_opaque(layer: Path) -> bool:
    try:
        return os.getxattr(layer, "trusted.overlay.opaque") == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def missing_layer(image: Image, diff_id: str) -> NotFound:
    what = f"a layer of {image.reference} is not on disk: {diff_id}"
    return NotFound(what, hint=f"Pull it again: zlayer pull {image.reference}")


def _refused(error: MountError, image: Image, directory: Path) -> ZlayerError:
    what = f"cannot mount {image.reference} for {directory.name}: {error.strerror}"
    if error.errno == errno.EBUSY:
        return Conflict(what, hint="Another mount uses the same upper directory: unmount that first.")
    if error.errno == errno.ENODEV:
        return Unsupported(what, hint="The kernel has no overlayfs: modprobe overlay.")
    if error.errno == errno.ENOSPC:
        return Exhausted(what, hint="Too many mounts: raise the sysctl fs.mount-max.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Exhausted(what, hint=OPEN_FILES)
    return Failed(what, hint="The data directory must be on a local file system; the daemon must be root.")


def unmakeable(error: OSError, directory: Path) -> ZlayerError:
    what = f"cannot prepare {directory}: {error.strerror}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Exhausted(what, hint=OPEN_FILES)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Exhausted(what, hint="Free disk space (zlayer image rm), then try again.")
    return Failed(what, hint="Look at the data directory's owner and mount options.")
