"""Follow a growing file, woken by the kernel (inotify(7))."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from io import TextIOWrapper
from pathlib import Path

from zlayer.model.errors import Failed

IN_MODIFY, IN_CREATE, IN_MOVED_TO = 0x2, 0x100, 0x80


def follow(path: Path, file: TextIOWrapper) -> Generator[str, None, None]:
    """Whole lines written after where `file` stands, for ever; goes over to a new file of that name (rotation)."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(path.parent), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0:
        raise Failed(f"cannot watch {path}: {os.strerror(ctypes.get_errno())}", hint="use `tail -F`")
    rest = ""
    try:
        while True:
            *lines, rest = (rest + file.read()).split("\n")
            yield from lines
            if _replaced(path, file):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
                continue
            os.read(watch, 4096)
    finally:
        os.close(watch)
        file.close()


def _replaced(path: Path, file: TextIOWrapper) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
