"""The user's terminal in raw mode, and given back as it was whatever happens."""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Every key goes to the other side, Ctrl-C too. TERM and HUP end the process after the terminal is restored."""
    before = termios.tcgetattr(descriptor)

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    caught = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in caught.items():
            signal.signal(number, handler)


@contextmanager
def resizes() -> Iterator[int]:
    """A descriptor that becomes readable when the window's size changed (SIGWINCH)."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def changed(_: int, __: FrameType | None) -> None:
        with suppress(BlockingIOError):  # full: a change is already told
            os.write(writing, b"w")

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(reading)
        os.close(writing)


def window(descriptor: int) -> tuple[int, int]:
    """Rows and columns; 24 by 80 for what has no size."""
    try:
        columns, rows = os.get_terminal_size(descriptor)
    except OSError:
        return 24, 80
    return rows or 24, columns or 80
