"""inotify through ctypes: one descriptor for many watches, shared by every waiter of a loop (man 7 inotify)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zlayer.model.errors import Exhausted, Failed

MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, IGNORED, OVERFLOW = 0x400, 0x8000, 0x4000
_MASK_ADD = 0x20000000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One interest in one path. `notify` is called in the loop after any event of `mask`, many events at once."""

    wd: int
    path: bytes
    mask: int
    notify: Callable[[], None]


class Inotify:
    """Belongs to the event loop it was made in. Close it with the loop's owner."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(_FLAGS)
        if self._fd < 0:
            raise _error(ctypes.get_errno(), "inotify")
        self._heard: dict[int, set[Subscription]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Idempotent. Waiters are not woken: their owner cancels them."""
        if self._fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def subscribe(self, path: Path, mask: int, notify: Callable[[], None]) -> Subscription:
        """Hear of `mask` at `path` from now on. FileNotFoundError when it is not there."""
        name = os.fsencode(path)
        wd = _libc.inotify_add_watch(self._fd, name, ctypes.c_uint32(mask | _MASK_ADD))
        if wd < 0:
            number = ctypes.get_errno()
            if number in (2, 20):
                raise FileNotFoundError(number, os.strerror(number), str(path))
            raise _error(number, str(path))
        subscription = Subscription(wd, name, mask, notify)
        self._heard.setdefault(wd, set()).add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Idempotent. The last one of a path ends its watch in the kernel."""
        others = self._heard.get(subscription.wd, set())
        others.discard(subscription)
        if not others and self._heard.pop(subscription.wd, None) is not None and self._fd >= 0:
            _libc.inotify_rm_watch(self._fd, subscription.wd)

    @contextlib.contextmanager
    def watch(self, *interests: tuple[Path, int]) -> Iterator[asyncio.Event]:
        """An event that anything heard at any of the paths sets and the waiter clears. Errors as above."""
        changed = asyncio.Event()
        held: list[Subscription] = []
        try:
            for path, mask in interests:
                held.append(self.subscribe(path, mask, changed.set))
            yield changed
        finally:
            for subscription in held:
                self.unsubscribe(subscription)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        woken: set[Subscription] = set()
        offset = 0
        while offset < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if mask & OVERFLOW:
                woken.update(*self._heard.values())
            woken.update(s for s in self._heard.get(wd, ()) if mask & (s.mask | IGNORED | DELETE_SELF))
            if mask & IGNORED:
                self._heard.pop(wd, None)
        for subscription in woken:
            subscription.notify()


def _error(number: int, what: str) -> Failed | Exhausted:
    if number in (24, 28):
        return Exhausted(
            f"no inotify watch left for {what}",
            hint="raise fs.inotify.max_user_watches and fs.inotify.max_user_instances",
        )
    return Failed(f"cannot watch {what}: {os.strerror(number)}")
