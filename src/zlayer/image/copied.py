"""Container root file systems as whole copies: for data directories where overlayfs cannot be had."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from zlayer.image.contract import Image, Mounted
from zlayer.image.copying import Overlaying
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import MountError, bind, syncfs
from zlayer.image.snapshots import OverlaySnapshots, is_mount_point, missing_layer, unmakeable
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Unavailable

_TRIES = 3


class CopySnapshots(OverlaySnapshots):
    """Implements `Snapshots`. `tree/` is the container's whole tree, bound on `rootfs/`; `work/` is one in the making.
    What another driver made is left as it is: it has its own names, and a mount of its own.

    The image's layers are put together once. That tree lies in the layer store under a name made of theirs, so it is
    counted on disk and collected as content of no image; containers do not need it once they are copied.
    """

    def __init__(self, layers: LayerStore, containers: Path, *, sync: bool = True) -> None:
        super().__init__(layers, containers)
        self._sync = sync

    def _mount(self, image: Image, key: str, directory: Path) -> Mounted:
        mounted = Mounted(key, directory / "rootfs", directory / "tree")
        try:
            if not is_mount_point(mounted.rootfs):
                self._bind(image, mounted, directory / "work")
            self._level(image, mounted)
        except MountError as error:
            raise unmakeable(error, directory) from error
        except OSError as error:
            remove_tree(directory / "work")
            raise unmakeable(error, directory) from error
        return mounted

    def _bind(self, image: Image, mounted: Mounted, work: Path) -> None:
        mounted.rootfs.mkdir(parents=True, exist_ok=True)
        if mounted.upper.is_dir() and mounted.upper.samefile(mounted.rootfs):
            return
        if not mounted.upper.is_dir():
            self._fill(image, mounted.upper, work)
        bind(mounted.upper, mounted.rootfs)

    def _fill(self, image: Image, upper: Path, work: Path) -> None:
        for _ in range(_TRIES):
            remove_tree(work)
            work.mkdir()
            work.chmod(0o755)
            try:
                if image.layers:
                    _lay([self._tree(image)], work)
            except FileNotFoundError:  # the collection took the tree while it was copied
                continue
            if self._sync:
                syncfs(work)
            work.rename(upper)
            return
        remove_tree(work)
        raise Unavailable(f"{image.reference} is collected as fast as it is put together", hint="Try again.")

    def _tree(self, image: Image) -> Path:
        paths = [self._layers.path(diff_id) for diff_id in image.layers]
        for diff_id, path in zip(image.layers, paths, strict=True):
            if not path.is_dir():
                raise missing_layer(image, diff_id)
        name = tree_name(image.layers)
        if self._layers.has(name):
            return self._layers.path(name)
        temporary = self._layers.begin()
        try:
            _lay(paths, temporary)
            return self._layers.commit(temporary, name)
        except BaseException:
            self._layers.discard(temporary)
            raise


def tree_name(layers: Sequence[str]) -> str:
    """Of the tree made of these layers, base first; shaped like a diff id and never one."""
    return "sha256:" + hashlib.sha256("\n".join(["tree", *layers]).encode()).hexdigest()


def _lay(sources: Sequence[Path], target: Path) -> None:
    made = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for source in sources:
            layer = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                Overlaying(made).lay(layer)
            finally:
                os.close(layer)
    finally:
        os.close(made)
