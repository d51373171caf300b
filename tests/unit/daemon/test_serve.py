"""A daemon's life, over fakes but with real sockets, signals, locks and logs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zlayer.client import transport
from zlayer.client.client import Client
from zlayer.client.frames import TEXT
from zlayer.client.transport import Address
from zlayer.client.websocket import WebSocket
from zlayer.daemon import tokens
from zlayer.daemon.listen import parse_bind
from zlayer.model.errors import Denied
from zlayer.model.units import Seconds

PROGRAM = Path(__file__).with_name("fake_daemon.py")


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as directory:
        yield Path(directory) / "d"


@contextmanager
def daemon(data: Path, bind: str = "127.0.0.1:0", *more: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A started one and the first line it said."""
    argv = [sys.executable, str(PROGRAM), str(data), json.dumps({"bind": bind}), *more]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def get(address: Address, path: str) -> Any:
    with transport.request(address, "GET", path) as response:
        return response.json()


def events(data: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (data / "daemon.log").read_text().splitlines()]


def test_it_serves_both_doors_and_stops_cleanly(data: Path) -> None:
    with daemon(data) as (process, facts):
        bind = parse_bind(facts["bind"])
        inside = Address(path=facts["socket"])
        assert get(inside, "/health/ready")["status"] == "ok"
        status = get(inside, "/api/v1/status")
        assert (status["pid"], status["bind"]) == (process.pid, str(bind))
        with pytest.raises(Denied):
            get(Address(host=bind.host, port=bind.port), "/api/v1/status")
        key = tokens.load_key(data / "jwt.key")
        token = tokens.create_token(key, subject="me", roles=["reader"], lifetime=Seconds(60))
        outside = Address(host=bind.host, port=bind.port, token=token)
        assert get(outside, "/api/v1/status")["pid"] == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not (data / "zlayer.sock").exists()
    assert (data / "daemon.pid").read_text() == ""
    assert events(data) == ["daemon.ready", "daemon.stopping", "daemon.stopped"]


def test_what_it_makes_is_its_owners(data: Path) -> None:
    with daemon(data, "off") as (_, facts):
        assert facts["bind"] == "off"
        modes = {
            name: stat.S_IMODE((data / name).stat().st_mode) for name in ("", "zlayer.sock", "jwt.key", "daemon.log")
        }
        assert modes == {"": 0o700, "zlayer.sock": 0o600, "jwt.key": 0o600, "daemon.log": 0o600}


def test_what_may_hold_secrets_is_closed_in_a_directory_open_to_all(data: Path) -> None:
    (data / "containers").mkdir(parents=True, mode=0o755)
    data.chmod(0o755)
    with daemon(data):
        assert stat.S_IMODE(data.stat().st_mode) == 0o755  # not ours to change
        for name in ("containers", "volumes", "run"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o700


def test_a_second_one_on_the_same_directory_is_refused(data: Path) -> None:
    with daemon(data, "off") as (first, facts):
        with daemon(data, "off") as (second, said):
            assert second.wait(20) == 6
            assert (said["code"], str(first.pid) in said["detail"]) == ("conflict", True)
        assert get(Address(path=facts["socket"]), "/health/live")["status"] == "ok"  # the first is not disturbed


def test_what_keeps_it_from_starting_is_told_and_nothing_is_left(data: Path) -> None:
    with daemon(data, "off", "broken") as (process, said):
        assert process.wait(20) == 7
        assert (said["code"], said["hint"]) == ("unavailable", "apt install runc")
    assert not (data / "zlayer.sock").exists()


def test_a_broken_configuration_is_told_with_its_line(data: Path) -> None:
    data.mkdir()
    (data / "config.toml").write_text("[daemon]\nbnid = 1\n")
    with daemon(data, "off") as (process, said):
        assert process.wait(20) == 2
        assert [(error["line"], error["suggestion"]) for error in said["errors"]] == [(2, "bind")]


def test_hangup_reopens_the_log(data: Path) -> None:
    with daemon(data, "off") as (process, facts):
        (data / "daemon.log").rename(data / "old.log")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert facts["node"] == "n1"
    assert "daemon.ready" in (data / "old.log").read_text()
    assert events(data)[-1] == "daemon.stopped"


def test_a_killed_one_leaves_nothing_in_the_way(data: Path) -> None:
    with daemon(data, "off") as (process, _):
        process.kill()
        process.wait(20)
    assert (data / "zlayer.sock").exists()
    with daemon(data, "off") as (_, facts):
        assert get(Address(path=facts["socket"]), "/health/ready")["status"] == "ok"


def test_a_follower_does_not_keep_it_from_stopping(data: Path) -> None:
    with daemon(data, "off") as (process, facts):
        stream = transport.request(Address(path=facts["socket"]), "GET", "/api/v1/events?follow=true")
        process.send_signal(signal.SIGINT)
        assert json.loads(list(stream.lines())[-1])["error"]["code"] == "unavailable"
        assert process.wait(20) == 0
        stream.close()


def test_an_idle_connection_does_not_keep_it_from_stopping(data: Path) -> None:
    with daemon(data, "off") as (process, facts), socket.socket(socket.AF_UNIX) as idle:
        idle.connect(facts["socket"])
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_it_sleeps_while_nothing_happens(data: Path) -> None:
    with daemon(data) as (process, _):
        before = switches(process.pid)
        assert process.stdout is not None
        assert os.get_blocking(process.stdout.fileno())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        assert switches(process.pid) - before < 15  # uvicorn alone would wake 10 times a second per listener


def switches(pid: int) -> int:
    """How often the process gave up the processor by itself, over all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        total += int(fields["voluntary_ctxt_switches"])
    return total


def texts(channel: WebSocket) -> Iterator[Any]:
    """The JSON documents of text messages."""
    while not channel.closed:
        for message in channel.pump():
            if message.kind == TEXT:
                yield json.loads(message.text)


def test_live_stdio_goes_through_both_doors(data: Path) -> None:
    with daemon(data) as (_, facts):
        bind = parse_bind(facts["bind"])
        key = tokens.load_key(data / "jwt.key")
        token = tokens.create_token(key, subject="me", roles=["operator"], lifetime=Seconds(60))
        doors = (Address(path=facts["socket"]), Address(host=bind.host, port=bind.port, token=token))
        for address in doors:
            with Client(address).open_run({"image": "example.test/app:1", "rm": True}) as channel:
                said = texts(channel)
                assert next(said)["event"] == "created"
                channel.send({"signal": "SIGTERM"})
                assert next(said) == {"event": "exited", "code": 143, "oom": False, "reason": ""}
                assert next(said)["event"] == "removed"
                assert list(said) == [{"exit_code": 143}]
        with pytest.raises(Denied):
            Client(Address(host=bind.host, port=bind.port)).open_run({"image": "example.test/app:1"})


def test_a_client_that_vanishes_takes_its_run_with_it(data: Path) -> None:
    with daemon(data, "off") as (_, facts):
        client = Client(Address(path=facts["socket"]))
        events = client.events(follow=True)
        run = client.run({"image": "example.test/app:1", "rm": True})
        instance = next(run).id
        while next(events).kind != "instance.started":
            pass
        run.close()
        while next(events).kind != "instance.exited":
            pass
        ended = [one for one in client.containers() if one.id == instance]
        assert [one.exit_code for one in ended] in ([143], [])
