"""Container root file systems on one read-only image file for each set of layers (EROFS), under overlayfs.

Linux 6.12 and later mount such a file without a block device. The layers are merged by overlayfs once, and packed as
they are then seen by `mkfs.erofs`; a container of 128 layers has one to look through.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio

from zlayer.image.contract import Image, Mounted
from zlayer.image.erofs_views import Views, show
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import MountError, attach, unmount
from zlayer.image.overlay import Stack, mount_overlay
from zlayer.image.snapshots import OverlaySnapshots, missing_layer, turn
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Unavailable

PROGRAM = "mkfs.erofs"
FILE = "image.erofs"
_OPTIONS = ("--quiet", "--preserve-mtime", "--chunksize=65536", "-E", "force-inode-extended")
"""Files in chunks keep their holes. Times and big ids need the larger inodes; the usual ones have the time of now."""
_IN_ROOM = """
exec 3<"$1" 4<"$2" && cd / && mount --no-canonicalize --bind /proc/self/fd/3 /tmp &&
mount --no-canonicalize --bind /proc/self/fd/4 "$3" && shift 3 && exec "$@"
"""
"""It gathers chunks in an unnamed file in /tmp, whatever TMPDIR says, and fails when the image file is on another file
system. So it sees the image file's directory there, in a mount namespace of its own that ends with it."""
_TRIES = 3
_NEARLY_FULL = 256 << 10
"""Bytes: what it writes at once."""


class ErofsSnapshots(OverlaySnapshots):
    """Implements `Snapshots` with the directories of `OverlaySnapshots`; the same upper works under either.

    The image file lies in the layer store under a name made of the layers', so it is counted on disk and collected as
    content of no image. A mounted one that is collected is there until its last container's mount goes.
    """

    def __init__(self, layers: LayerStore, containers: Path) -> None:
        super().__init__(layers, containers)
        self._packing: dict[str, anyio.Lock] = {}
        self._views = Views()
        self._apart = False
        """Whether each container needs a mount of the file for itself."""

    async def mount(self, image: Image, key: str, directory: Path) -> Mounted:
        name = packed_name(image.layers)
        if image.layers and not self._layers.has(name):
            # Replicas start at once and need one file. They wait without a thread each, and nobody else waits.
            async with turn(self._packing, name):
                if not self._layers.has(name):
                    return await super().mount(image, key, directory)
        return await super().mount(image, key, directory)

    def _assemble(self, image: Image, mounted: Mounted, work: Path) -> None:
        if not image.layers:
            super()._assemble(image, mounted, work)
            return
        for path in (mounted.upper, work, mounted.rootfs):
            path.mkdir(parents=True, exist_ok=True)
        mounted.upper.chmod(0o755)
        for _ in range(_TRIES):
            file = self._packed(image, work.with_name("build"))
            try:
                self._lay(file, mounted, work)
            except FileNotFoundError:  # the collection took the file before it was mounted
                continue
            return
        raise Unavailable(f"{image.reference} is collected as fast as it is packed", hint="Try again.")

    def _lay(self, file: Path, mounted: Mounted, work: Path) -> None:
        if not self._apart:
            try:
                lay_over(self._views.enter(work.parent, file), mounted, work)
            except MountError as error:
                self._views.leave(work.parent)
                if error.errno != errno.EINVAL:
                    raise
            except OSError:
                self._views.leave(work.parent)
                raise
            else:
                return
        mount_packed(file, work.with_name("lower"), mounted, work)
        self._apart = True  # Linux before 6.15

    def _level(self, image: Image, mounted: Mounted) -> None:
        """It was done before the layers were packed."""

    def _packed(self, image: Image, build: Path) -> Path:
        name = packed_name(image.layers)
        if not self._layers.has(name):
            self._pack(image, name, build)
        return self._layers.path(name) / FILE

    def _pack(self, image: Image, name: str, build: Path) -> None:
        for diff_id in image.layers:
            if not self._layers.has(diff_id):
                raise missing_layer(image, diff_id)
        _take_down(build)
        merged = Mounted(build.parent.name, build / "rootfs", build / "upper")
        temporary = self._layers.begin()
        try:
            super()._assemble(image, merged, build / "work")
            super()._level(image, merged)
            pack(merged.rootfs, temporary / FILE)
            self._layers.commit(temporary, name)
        finally:
            _take_down(build)
            self._layers.discard(temporary)

    def _unmount(self, directory: Path, *, discard: bool) -> None:
        _take_down(directory / "build")
        _take_down(directory / "lower", directory / "lower")
        super()._unmount(directory, discard=discard)
        self._views.leave(directory)


def packed_name(layers: Sequence[str]) -> str:
    """Of the file made of these layers, base first; shaped like a diff id and never one."""
    return "sha256:" + hashlib.sha256("\n".join(["erofs", *layers]).encode()).hexdigest()


def pack(tree: Path, file: Path) -> None:
    """Write `tree` into a new image file. `MountError` with the program's words, OSError (ENOSPC) for a full disk."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise MountError(errno.ENOENT, f"{PROGRAM} is not installed (apt-get install erofs-utils)")
    point = file.with_name(f".{file.name}.tree")
    point.mkdir()
    try:
        made, seen = f"/tmp/{file.name}", f"/tmp/{point.name}"
        argv = [
            "unshare",
            "--mount",
            "--propagation",
            "slave",  # what is unmounted meanwhile goes there too, where the host shares mounts
            "sh",
            "-c",
            _IN_ROOM,
            "sh",
            str(file.parent.absolute()),
            str(tree.absolute()),
            seen,
        ]
        argv += [program, *_OPTIONS, made, seen]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    finally:
        point.rmdir()
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-500:]
        left = os.statvfs(file.parent)
        if left.f_bavail * left.f_frsize < _NEARLY_FULL:  # the program itself says input/output error then
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, which {PROGRAM} needs")
        raise MountError(errno.EIO, f"{PROGRAM}: {said or f'exit code {done.returncode}'}")


def mount_packed(file: Path, view: Path, mounted: Mounted, work: Path) -> None:
    """Mount the image file below `mounted.upper`. `view` is an empty directory's path, free again when this returns:
    overlayfs keeps a mount of its own of what it shows."""
    view.mkdir(exist_ok=True)
    with ExitStack() as stack:
        stack.callback(_take_down, view, view)
        image = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, image)
        shown = show(image)
        stack.callback(os.close, shown)
        attach(shown, _opened(view, stack))
        lay_over(_opened(view, stack), mounted, work)


def lay_over(lower: int, mounted: Mounted, work: Path) -> None:
    with ExitStack() as stack:
        upper, scratch, target = (_opened(path, stack) for path in (mounted.upper, work, mounted.rootfs))
        mount_overlay(Stack([lower], upper, scratch), mounted.key, target)


def _opened(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _take_down(directory: Path, target: Path | None = None) -> None:
    while unmount(target or directory / "rootfs"):
        pass
    remove_tree(directory)
