"""Whether a container may need the 32-bit system calls of its processor.

Compiling the seccomp filter for a second ABI costs a fifth of a container's start, and that ABI is attack surface; so
it is given only to images with a 32-bit loader, or whose program (or its `#!` interpreter) is a 32-bit ELF file.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path

from zlayer.runtime.oci.users import open_in_root

_LOADERS = (
    "/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1", "/lib/ld-linux-armhf.so.3", "/lib/ld-musl-armhf.so.1",
    "/lib/ld-linux.so.3",
)  # fmt: skip
_ELF32 = b"\x7fELF\x01"
_HEAD = 256


def runs_32_bit(root: Path, program: str, cwd: str, search: str) -> bool:
    """`search` is the container's PATH. A program that cannot be found is left to the engine to complain about."""
    if any(_head(root, loader) for loader in _LOADERS):
        return True
    names = [posixpath.join(cwd, program)] if "/" in program else [f"{d}/{program}" for d in search.split(":") if d]
    head = next((head for name in names if (head := _head(root, name))), b"")
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        head = _head(root, os.fsdecode(words[0])) if words else b""
    return head.startswith(_ELF32)


def _head(root: Path, path: str) -> bytes:
    """The first bytes of a regular file inside `root`; empty when there is none."""
    try:
        fd = open_in_root(root, path)
    except OSError:
        return b""
    try:
        return os.read(fd, _HEAD) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
