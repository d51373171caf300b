"""Mounts of an instance: host paths, directories the node keeps, memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from zlayer.model.container import BindMount, TmpfsMount, VolumeMount
from zlayer.model.errors import Invalid
from zlayer.model.instance import Instance
from zlayer.runtime.contract import MountPoint


def prepare(instance: Instance, directory: Path, rootfs: Path, volumes: Path) -> tuple[MountPoint, ...]:
    """Every mount, its source made or found. A missing bind source is `Invalid`: an empty directory would hide it."""
    return tuple(_prepare(instance, directory, rootfs, volumes))


def _prepare(instance: Instance, directory: Path, rootfs: Path, volumes: Path) -> Iterator[MountPoint]:
    for number, mount in enumerate(instance.spec.mounts):
        match mount:
            case BindMount():
                if not Path(mount.source).exists():
                    raise Invalid(
                        f"bind source {mount.source} does not exist on this node",
                        hint="create it, or use a named volume (type: named), which the node makes itself",
                    )
                yield MountPoint("bind", mount.target, mount.source, mount.readonly)
            case VolumeMount():
                named = volumes / instance.deployment / mount.name if mount.name else None
                path = named or directory / "volumes" / str(number)
                _ensure_volume(path, rootfs, mount.target)
                yield MountPoint("bind", mount.target, str(path), mount.readonly)
            case TmpfsMount():
                yield MountPoint("tmpfs", mount.target, size=mount.size, mode=mount.mode)
            case _:
                assert_never(mount)


def _ensure_volume(path: Path, rootfs: Path, target: str) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    uid, gid, mode = _owner_in_image(rootfs, target)
    made = path.with_name(f".{path.name}.new")
    made.mkdir(mode=0o700, exist_ok=True)
    os.chown(made, uid, gid)
    made.chmod(mode)
    made.rename(path)


def _owner_in_image(rootfs: Path, target: str) -> tuple[int, int, int]:
    """Owner and mode of the directory the image has there, so that its user can write the new volume.

    Walked without following links: an image must not make us look outside its own tree.
    """
    fd = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in Path(target).parts[1:]:
            try:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            except OSError:
                return 0, 0, 0o755
            os.close(fd)
            fd = inner
        info = os.fstat(fd)
        return info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)
    finally:
        os.close(fd)
