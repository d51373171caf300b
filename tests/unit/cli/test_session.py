from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.frames import Opcode

from zlayer.model.errors import Conflict
from zlayer.testing.api_samples import deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, Socket

EXEC = "/api/v1/deployments/shop/services/web/exec"
COMMAND = [sys.executable, "-m", "zlayer", "exec"]


@pytest.fixture(autouse=True)
def shop(daemon: ScriptedDaemon) -> None:
    daemon.routes["GET /api/v1/deployments"] = Answer([deployment("shop")])


def run(daemon: ScriptedDaemon, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *argv], env=daemon.environ, input=stdin, capture_output=True, timeout=30, check=False
    )


def echo_stdin(channel: Socket) -> None:
    """`cat`: reads the request, then sends stdin back until it is closed."""
    messages = channel.receive()
    next(messages)
    for kind, data in messages:
        if kind is Opcode.BINARY:
            channel.send(b"\x01" + data[1:])
        elif json.loads(data) == {"close_stdin": True}:
            channel.send({"exit_code": 0})
            channel.close()


def test_streams_and_exit_code_pass_through(daemon: ScriptedDaemon) -> None:
    asked: list[object] = []

    def script(channel: Socket) -> None:
        asked.append(json.loads(channel.next()[1]))
        channel.send(b"\x01out\xff\n")
        channel.send(b"\x02err\n")
        channel.send({"exit_code": 42})
        channel.close()

    daemon.sockets[EXEC] = script
    done = run(daemon, "-e", "A=1", "-u", "nobody", "-w", "/srv", "-r", "2", "web", "--", "ls", "-l")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out\xff\n", b"err\n")
    assert asked == [
        {"command": ["ls", "-l"], "env": {"A": "1"}, "tty": False, "stdin": False, "user": "nobody",
         "workdir": "/srv", "slot": 2}
    ]  # fmt: skip


def test_megabytes_of_stdin_come_back_unchanged_and_in_order(daemon: ScriptedDaemon) -> None:
    """Both directions full at once: neither side may wait for the other to read."""
    daemon.sockets[EXEC] = echo_stdin
    data = os.urandom(3_000_000)
    done = run(daemon, "-i", "web", "--", "cat", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data


def test_a_file_and_nothing_at_all_are_stdin_too(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    daemon.sockets[EXEC] = echo_stdin
    (tmp_path / "in").write_bytes(b"from a file")
    argv = [*COMMAND, "-i", "web", "--", "cat"]
    with (tmp_path / "in").open("rb") as file:
        done = subprocess.run(argv, env=daemon.environ, stdin=file, capture_output=True, timeout=30, check=True)
    assert done.stdout == b"from a file"
    assert run(daemon, "-i", "web", "--", "cat").stdout == b""


def test_an_error_instead_of_an_exit_code(daemon: ScriptedDaemon) -> None:
    def script(channel: Socket) -> None:
        channel.next()
        channel.send({"error": Conflict("web-1 is not running").document()})
        channel.close()

    daemon.sockets[EXEC] = script
    done = run(daemon, "web", "--", "ls")
    assert (done.returncode, done.stderr) == (6, b"error: web-1 is not running\n")


def test_a_session_that_breaks_off_is_unreachable(daemon: ScriptedDaemon) -> None:
    def script(channel: Socket) -> None:
        channel.next()
        channel.close("going away")

    daemon.sockets[EXEC] = script
    done = run(daemon, "web", "--", "ls")
    assert done.returncode == 7
    assert b"going away" in done.stderr


def test_an_unknown_exit_code_is_255(daemon: ScriptedDaemon) -> None:
    def script(channel: Socket) -> None:
        channel.next()
        channel.send({"exit_code": None})
        channel.close()

    daemon.sockets[EXEC] = script
    assert run(daemon, "web", "--", "ls").returncode == 255


def test_a_tty_without_a_terminal_is_refused(daemon: ScriptedDaemon) -> None:
    done = run(daemon, "-it", "web", "--", "sh")
    assert done.returncode == 2
    assert b"stdin is no terminal" in done.stderr


class Terminal:
    """The user's end of a pty."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes) -> bytes:
        seen = b""
        while text not in seen:
            assert select.select([self.descriptor], [], [], 20)[0], f"only {seen!r}"
            seen += os.read(self.descriptor, 65536)
        return seen

    def type(self, text: bytes) -> None:
        os.write(self.descriptor, text)


@contextmanager
def terminal(daemon: ScriptedDaemon, *argv: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes], int]]:
    """The command on a pty: its user's end, the process, and the terminal's own descriptor."""
    master, slave = pty.openpty()
    user = Terminal(master)
    user.size(30, 100)
    try:
        whole = ["setsid", "--ctty", *COMMAND, *argv]  # else no SIGWINCH: the terminal must be its own
        with subprocess.Popen(whole, env=daemon.environ, stdin=slave, stdout=slave, stderr=slave) as running:
            try:
                yield user, running, slave
            finally:
                running.kill()
    finally:
        os.close(master)
        os.close(slave)


def shell(seen: list[object]) -> object:
    """Keeps what it is told and echoes stdin; `q` ends it with 5."""

    def script(channel: Socket) -> None:
        messages = channel.receive()
        seen.append(json.loads(next(messages)[1]))
        channel.send(b"\x01ready")
        for kind, data in messages:
            if kind is Opcode.TEXT:
                seen.append(json.loads(data))
                channel.send(b"\x01told")
            elif data[1:] == b"q":
                channel.send({"exit_code": 5})
                channel.close()
            elif kind is Opcode.BINARY:
                channel.send(b"\x01<" + data[1:].hex().encode() + b">")

    return script


def test_a_terminal_is_raw_is_resized_and_is_given_back(daemon: ScriptedDaemon) -> None:
    seen: list[object] = []
    daemon.sockets[EXEC] = shell(seen)  # type: ignore[assignment]  # it is a script
    with terminal(daemon, "-it", "web", "--", "sh") as (user, running, slave):
        before = termios.tcgetattr(slave)
        user.expect(b"ready")
        assert not termios.tcgetattr(slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        user.type(b"\x03")
        user.expect(b"<03>")
        user.size(40, 120)
        user.expect(b"told")
        user.type(b"q")
        assert running.wait(20) == 5
        assert termios.tcgetattr(slave) == before
    assert seen == [
        {"command": ["sh"], "env": {}, "tty": True, "stdin": True, "rows": 30, "columns": 100},
        {"resize": [40, 120]},
    ]


def test_a_terminal_is_given_back_when_we_are_told_to_end(daemon: ScriptedDaemon) -> None:
    daemon.sockets[EXEC] = shell([])  # type: ignore[assignment]  # it is a script
    with terminal(daemon, "-it", "web", "--", "sh") as (user, running, slave):
        before = termios.tcgetattr(slave)
        user.expect(b"ready")
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 143
        assert termios.tcgetattr(slave) == before
