from __future__ import annotations

import os
import pty
import signal
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest

from zlayer.cli import terminal


@pytest.fixture
def slave() -> Iterator[int]:
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_raw_is_undone_whatever_happens(slave: int) -> None:
    before, handler = termios.tcgetattr(slave), signal.getsignal(signal.SIGTERM)
    with suppress(LookupError), terminal.raw(slave):
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        raise LookupError
    assert termios.tcgetattr(slave) == before
    assert signal.getsignal(signal.SIGTERM) is handler


def test_hanging_up_ends_with_the_signals_code(slave: int) -> None:
    before = termios.tcgetattr(slave)
    with pytest.raises(SystemExit) as stop, terminal.raw(slave):
        signal.raise_signal(signal.SIGHUP)
    assert stop.value.code == 129
    assert termios.tcgetattr(slave) == before


def test_a_resize_is_told_once_however_often_it_happens() -> None:
    before = signal.getsignal(signal.SIGWINCH)
    with terminal.resizes() as descriptor:
        for _ in range(3):
            signal.raise_signal(signal.SIGWINCH)
        assert os.read(descriptor, 4096)
        with pytest.raises(BlockingIOError):
            os.read(descriptor, 1)
    assert signal.getsignal(signal.SIGWINCH) is before


def test_the_window(slave: int) -> None:
    termios.tcsetwinsize(slave, (30, 100))
    assert terminal.window(slave) == (30, 100)
    termios.tcsetwinsize(slave, (0, 0))
    assert terminal.window(slave) == (24, 80)
    with open(os.devnull) as null:  # noqa: PTH123
        assert terminal.window(null.fileno()) == (24, 80)
