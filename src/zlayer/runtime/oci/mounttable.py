"""Which mounts of a machine a container engine can do without (proc(5), /proc/PID/mountinfo)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_SYSTEM = frozenset(("bin", "dev", "etc", "gnu", "lib", "lib32", "lib64", "nix", "opt", "proc", "sbin", "sys", "usr"))
"""Directories of the root in which the kernel's file systems, programs and their libraries are."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def to_drop(mountinfo: str, keep: Iterable[Path]) -> Sequence[str]:
    """Mount points neither of the system nor on the way to one of `keep`, in the table's order."""
    needed = {str(path) for leaf in keep for path in (leaf, *leaf.parents)} | {"/"}
    dropped = []
    for line in mountinfo.splitlines():
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4])
        if point not in needed and point.split("/")[1] not in _SYSTEM:
            dropped.append(point)
    return dropped
