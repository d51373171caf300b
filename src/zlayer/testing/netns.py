"""Network namespaces for tests: a stand-in for "the host" or "outside", and code run inside one.

Sockets keep the namespace they were opened in, so a test opens them here and uses them anywhere. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET, MS_BIND, MNT_DETACH = 0x40000000, 0x1000, 0x2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_thread(work: Callable[[], T]) -> T:
    """`work` in a thread of its own, which may go anywhere because nobody uses it afterwards."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 (carried to the caller, whatever it is)
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def run_inside(netns: Path, work: Callable[[], T]) -> T:
    """`work` in the namespace pinned at `netns`; its result or its error."""

    def body() -> T:
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(descriptor, CLONE_NEWNET))
        finally:
            os.close(descriptor)
        return work()

    return in_thread(body)


@contextmanager
def short_directory() -> Iterator[Path]:
    """A new directory with a short path (unix sockets allow 107 bytes), removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def namespace() -> Iterator[Path]:
    """A new, empty network namespace, pinned at the path given; gone at the end."""

    def pin_here(pin: Path) -> None:
        _check(_libc.unshare(CLONE_NEWNET))
        _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(pin), None, MS_BIND, None))

    with short_directory() as directory:
        pin = directory / "net"
        pin.touch()
        in_thread(lambda: pin_here(pin))
        try:
            yield pin
        finally:
            _check(_libc.umount2(os.fsencode(pin), MNT_DETACH))
