"""Snapshots without mounts or root: plain directories, for tests of what stands above."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from zlayer.image.contract import Image, Mounted
from zlayer.model.errors import NotFound


class FakeSnapshots:
    """Implements `Snapshots` by copying: `upper/` holds the image's files and what the container wrote.

    `rootfs` is a link to it while "mounted". `layers` are the files of each diff id, `{"etc/motd": b"..."}`.
    """

    def __init__(self, layers: Mapping[str, Mapping[str, bytes]]) -> None:
        self._layers = layers
        self._mounted: set[str] = set()

    async def mount(self, image: Image, key: str, directory: Path) -> Mounted:
        mounted = Mounted(key, directory / "rootfs", directory / "upper")
        if key in self._mounted:
            return mounted
        missing = [diff_id for diff_id in image.layers if diff_id not in self._layers]
        if missing:
            raise NotFound(f"a layer of {image.reference} is not here: {missing[0]}", hint="Pull it again.")
        if not mounted.upper.exists():
            mounted.upper.mkdir(parents=True)
            for diff_id in image.layers:
                _copy(self._layers[diff_id], mounted.upper)
        mounted.rootfs.symlink_to(mounted.upper)
        self._mounted.add(key)
        return mounted

    async def unmount(self, key: str, directory: Path, *, discard: bool) -> None:
        self._mounted.discard(key)
        (directory / "rootfs").unlink(missing_ok=True)
        if discard:
            shutil.rmtree(directory / "upper", ignore_errors=True)

    async def list(self) -> Sequence[str]:
        return sorted(self._mounted)


def _copy(files: Mapping[str, bytes], root: Path) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
