from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from zlayer.testing.scripted_daemon import ScriptedDaemon, Socket

RUN = "/api/v1/run"
COMMAND = [sys.executable, "-m", "zlayer", "run", "--rm"]


def ended(channel: Socket, code: int, **more: object) -> None:
    channel.send({"event": "exited", "code": code, "oom": False, "reason": "", **more})
    channel.send({"event": "removed", "id": "i"})
    channel.send({"exit_code": code})
    channel.close()


def test_output_and_exit_code(daemon: ScriptedDaemon) -> None:
    asked: list[object] = []

    def script(channel: Socket) -> None:
        asked.append(json.loads(channel.next()[1]))
        channel.send({"event": "pulling", "digest": "sha256:0123456789abcdef", "phase": "extracting"})
        channel.send({"event": "created", "id": "i"})
        channel.send(b"\x01out\n")
        channel.send(b"\x02err\n")
        ended(channel, 9)

    daemon.sockets[RUN] = script
    done = subprocess.run([*COMMAND, "alpine", "ls"], env=daemon.environ, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (9, b"out\n")
    assert done.stderr == b"0123456789ab extracting\nerr\n"
    assert asked == [{"image": "alpine", "command": ["ls"], "rm": True}]


@pytest.mark.parametrize(
    ("more", "words"), [({"oom": True}, b"used more memory"), ({"reason": "no such program"}, b"no such program")]
)
def test_why_it_ended_is_told(daemon: ScriptedDaemon, more: dict[str, object], words: bytes) -> None:
    def script(channel: Socket) -> None:
        channel.next()
        channel.send({"event": "created", "id": "i"})
        ended(channel, 137, **more)

    daemon.sockets[RUN] = script
    done = subprocess.run([*COMMAND, "alpine"], env=daemon.environ, capture_output=True, timeout=30, check=False)
    assert done.returncode == 137
    assert words in done.stderr


def test_signals_go_to_the_container_and_a_second_ctrl_c_kills(daemon: ScriptedDaemon) -> None:
    def script(channel: Socket) -> None:
        messages = channel.receive()
        next(messages)
        channel.send({"event": "created", "id": "i"})
        channel.send(b"\x01ready\n")
        for _ in range(3):
            name = json.loads(next(messages)[1])["signal"]
            channel.send(b"\x01" + name.encode() + b"\n")
        ended(channel, 137)

    daemon.sockets[RUN] = script
    with subprocess.Popen(
        [*COMMAND, "alpine"], env=daemon.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        told = [running.stdout.readline()]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            running.send_signal(number)
            told.append(running.stdout.readline())
        _, err = running.communicate(timeout=20)
    assert told == ["ready\n", "SIGTERM\n", "SIGINT\n", "SIGKILL\n"]
    assert (running.returncode, err) == (137, "zlayer: killing it\n")


def test_a_signal_before_it_exists_ends_us(daemon: ScriptedDaemon) -> None:
    def script(channel: Socket) -> None:
        messages = channel.receive()
        next(messages)
        channel.send({"event": "pulling", "digest": "sha256:0123456789abcdef", "phase": "waiting"})
        list(messages)  # until we hang up

    daemon.sockets[RUN] = script
    with subprocess.Popen([*COMMAND, "alpine"], env=daemon.environ, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        assert running.stderr.readline() == "0123456789ab waiting\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
