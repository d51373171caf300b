"""The access log: HAProxy appends JSON lines to a file itself, so no request waits for us and none is lost with us.

We only rotate: the file is copied and cut short in place, because HAProxy keeps it open. While nobody rotates, a limit
of the kernel (RLIMIT_FSIZE) stops it from growing: then lines are lost, never requests.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from zlayer.model.units import Bytes
from zlayer.proxy.haproxy.process import ACCESS, ENGINE
from zlayer.proxy.haproxy.settings import Settings

ENGINE_SIZE = Bytes(1 << 20)


def bound(settings: Settings) -> Bytes:
    """How large a file may become while nobody rotates it."""
    return Bytes(max(4 * settings.log_size, 4 * ENGINE_SIZE))


def rotate(directory: Path, settings: Settings) -> bool:
    """Whether a file was too long, and so is now another's or cut short. Lines of the very moment may be lost."""
    with contextlib.suppress(OSError):
        if (directory / ENGINE).stat().st_size > ENGINE_SIZE:
            os.truncate(directory / ENGINE, 0)
    path, old = directory / ACCESS, directory / f"{ACCESS}.1"
    try:
        if path.stat().st_size < settings.log_size:
            return False
        _copy(path, old)
    except FileNotFoundError:
        return False
    except OSError:
        old.unlink(missing_ok=True)  # no room for two: the older lines go
    os.truncate(path, 0)
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        left = os.fstat(reader.fileno()).st_size
        while left > 0 and (sent := os.copy_file_range(reader.fileno(), writer.fileno(), left)):
            left -= sent
