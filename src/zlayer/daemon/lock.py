"""One daemon per data directory, guarded by the kernel."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zlayer.model.errors import Conflict


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the data directory for the life of the context; `path` then names our pid as text.

    The lock is an flock, so it ends with the process however that ends, and a pid file left behind locks nothing.
    Who unlinks the file must hold it. A lock on a file that has lost its name is no lock and is asked for again: two
    daemons could else hold locks on two files of one name.
    Raises `Conflict` at once when another daemon holds it; its pid is in the message.
    """
    descriptor = _locked(path)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _still_named(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise _taken(path) from None
        os.close(descriptor)


def _still_named(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def holder(path: Path) -> int | None:
    """The pid of the daemon that holds `path` now, or None. Asks the lock, never the pid alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else 0


def _taken(path: Path) -> Conflict:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = _pid(descriptor)
    finally:
        os.close(descriptor)
    who = f" (pid {pid})" if pid else ""
    return Conflict(
        f"another daemon{who} already serves {path.parent}",
        hint=f"stop it with `zlayer --data-dir {path.parent} daemon stop`, or use another --data-dir",
    )
