"""A program on a pseudo terminal of its own, as a person has it: what it shows, what is typed, its size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_OPEN_AS_OURS = 'exec "$@" <>"$0" >&0 2>&1'
"""The shell leads a session without a terminal, so the one it opens becomes its controlling terminal (tty(4))."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """Leaving it kills what still runs. `shown` is all that was written so far, control sequences included."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, rows: int = 24, columns: int = 80
    ) -> None:
        self.shown = ""
        self._seen = 0
        self._master, self._slave = pty.openpty()
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", _OPEN_AS_OURS, os.ttyname(self._slave), *argv],
            env={**env, "TERM": "xterm"},
            cwd=cwd,
            start_new_session=True,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def restored(self) -> bool:
        """Whether the terminal is set as the program found it."""
        return termios.tcgetattr(self._slave) == self.settings

    @property
    def text(self) -> str:
        """`shown` without control sequences, its lines ended as in a file."""
        return _CONTROL.sub("", self.shown).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Of the window; the kernel tells the program (SIGWINCH)."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: str, within: float = 30) -> None:
        """Returns once `text` is shown behind what was expected last."""
        deadline = time.monotonic() + within
        while (at := self.shown.find(text, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"not shown within {within:g} s: {text!r}\n{self.shown}"
            assert self._read(min(left, 0.5)) or self.process.poll() is None, f"ended without {text!r}\n{self.shown}"
        self._seen = at + len(text)

    def wait(self, within: float = 30) -> int:
        """Its exit code, once it has ended and all it wrote is in `shown`."""
        deadline = time.monotonic() + within
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still runs after {within:g} s\n{self.shown}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, patience: float) -> bool:
        if not select.select((self._master,), (), (), patience)[0]:
            return False
        self.shown += os.read(self._master, 65536).decode(errors="replace")
        return True
