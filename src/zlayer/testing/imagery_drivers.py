"""What this machine lacks for a root file system driver: the reason of a skip."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def lacking(driver: str) -> str:
    """Empty: it can be tried."""
    if driver == "fuse-overlayfs":
        found = Path("/dev/fuse").exists() and shutil.which("fuse-overlayfs") is not None
        return "" if found else "no /dev/fuse, or no fuse-overlayfs"
    if driver == "erofs":
        if shutil.which("mkfs.erofs") is None:
            return "erofs-utils is not installed"
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        known = release >= (6, 12) and "\terofs\n" in Path("/proc/filesystems").read_text()
        return "" if known else "this kernel has no erofs on files"
    return ""
