"""Small files in as few system calls as there can be: `open()` makes eight for one line, and a create reads a dozen."""

from __future__ import annotations

import os

_LARGEST = 64 << 10


def read(path: str | os.PathLike[str]) -> bytes:
    """All of a file of less than 64 KiB, as it was at one moment. OSError as open and read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """A file that holds just this, for our eyes only if it is new. OSError as open and write: it may then be torn."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
