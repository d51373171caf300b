"""Network namespaces pinned as files: made, entered, and given back.

A pin is a bind mount of `/proc/thread-self/ns/net` on an empty file: the namespace lives as long as the mount, with
or without processes. Entering changes the calling *thread* only; every function here that enters also returns to
`home`. Call them from a thread of your own. Failures are `OSError`. Source: namespaces(7), setns(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
MS_BIND, MNT_DETACH = 0x1000, 0x2
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare came with Python 3.12


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def own() -> int:
    """A descriptor of the calling thread's network namespace; the caller closes it."""
    return os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)


def enter(descriptor: int) -> None:
    """Move the calling thread into the namespace behind `descriptor`."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), "cannot enter the network namespace")


@contextmanager
def inside(pin: Path, home: int) -> Iterator[int]:
    """The calling thread is in the pinned namespace; yields its descriptor, which lives as long as the block."""
    descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(descriptor)
        try:
            yield descriptor
        finally:
            enter(home)
    finally:
        os.close(descriptor)


def is_pinned(pin: Path) -> bool:
    """Whether a namespace is mounted on the file; a plain file is a trace of a crash or a reboot."""
    try:
        return pin.stat().st_dev == os.stat(OWN).st_dev  # noqa: PTH116 (one device for all of nsfs)
    except FileNotFoundError:
        return False


def create(pin: Path, home: int) -> None:
    """A new namespace, pinned at `pin` (a leftover plain file there is used). Killed half-way: only that file."""
    os.close(os.open(pin, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
    _check(_libc.unshare(CLONE_NEWNET), "cannot make a network namespace")
    try:
        _check(
            _libc.mount(OWN.encode(), os.fsencode(pin), None, MS_BIND, None),
            f"cannot pin the network namespace at {pin}",
        )
    finally:
        enter(home)


def destroy(pin: Path) -> None:
    """Unpin and remove the file; the kernel takes the namespace apart in its own time. Gone already: success."""
    while is_pinned(pin):  # a crash between two creates may have stacked mounts
        _check(_libc.umount2(os.fsencode(pin), MNT_DETACH), f"cannot unpin {pin}")
    pin.unlink(missing_ok=True)


def pinned(directory: Path) -> list[str]:
    """Names of the pins below `directory` with a namespace behind them, sorted."""
    try:
        return sorted(name for name in os.listdir(directory) if is_pinned(directory / name))  # noqa: PTH208 (names only)
    except FileNotFoundError:
        return []


def set_sysctl(name: str, value: str) -> None:
    """Give a `net/...` sysctl of the calling thread's namespace a value; a read-only one may have it already.

    Raises `FileNotFoundError` when the kernel has no such sysctl.
    """
    path = Path("/proc/sys") / name
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.EROFS, errno.EACCES} and path.read_text().strip() == value:
            return
        raise
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
