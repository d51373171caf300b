"""Device nodes of a container, and the rules that let it use them. Everything not listed is denied."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zlayer.model.container import Device
from zlayer.model.errors import Invalid

_OWN = frozenset({"pts", "shm", "mqueue", "fd", "console", "ptmx"})
_LETTERS = frozenset("rwm")

Entry = dict[str, Any]  # Any: one entry of a JSON document


def devices_of(devices: tuple[Device, ...], *, privileged: bool) -> tuple[list[Entry], list[Entry]]:
    """(`linux.devices`, `linux.resources.devices`). A directory stands for the nodes in it, as with docker.

    The engine adds the nodes and rules every container has (null, zero, full, random, urandom, tty, pts).
    """
    if privileged:
        nodes = [entry for path in _nodes(Path("/dev")) if (entry := _node(path))]
        return nodes, [{"allow": True, "access": "rwm"}]
    nodes, rules = [], [{"allow": False, "access": "rwm"}]
    for device in devices:
        if not device.access or not set(device.access) <= _LETTERS:
            raise Invalid(f"device {device.path}: access {device.access!r}", hint="use letters of rwm")
        for entry in _named(device):
            nodes.append(entry)
            rules.append({
                "allow": True, "type": entry["type"], "major": entry["major"], "minor": entry["minor"],
                "access": device.access,
            })  # fmt: skip
    return nodes, rules


def _named(device: Device) -> list[Entry]:
    path = Path(device.path)
    if not path.is_absolute():
        raise Invalid(f"device {device.path!r} is not an absolute path", hint="for example /dev/fuse")
    paths = list(_nodes(path)) if path.is_dir() else [path]
    found = [entry for each in paths if (entry := _node(each))]
    if not found:
        raise Invalid(f"{device.path} is not a device on this machine", hint="see ls -l /dev")
    return found


def _nodes(directory: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if entry.name in _OWN and directory == Path("/dev"):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _nodes(Path(entry.path))
        elif not entry.is_symlink():
            yield Path(entry.path)


def _node(path: Path) -> Entry | None:
    try:
        found = path.stat()
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
    if not kind:
        return None
    return {
        "path": str(path),
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }
