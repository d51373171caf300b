from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from zlayer.model.errors import Unsupported
from zlayer.testing.api_samples import Cli, container, deployment, line, plan, service
from zlayer.testing.scripted_daemon import Answer, Request, ScriptedDaemon, error_answer, ndjson, server_events

EVENTS = "GET /api/v1/deployments/shop/events"
STOP = "POST /api/v1/deployments/shop/stop"
LOGS = "GET /api/v1/deployments/shop/logs"
DOWN = service(running=0, ready=0)


@pytest.fixture(autouse=True)
def accepted(daemon: ScriptedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zlayer.yml").write_text("deployment: shop\n")
    daemon.routes |= {
        "POST /api/v1/deployments:plan": Answer(plan("create")),
        "POST /api/v1/deployments": Answer({"deployment": "shop", "revision": 3, "changed": True}, 202),
        LOGS: ndjson(line("hello"), line("oops", 2, "stderr"), held=True),
        EVENTS: server_events(("status", deployment("shop"))),
        "GET /api/v1/instances": Answer([container()]),
    }


@contextmanager
def up(daemon: ScriptedDaemon) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "zlayer", "up"],
        env=daemon.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        try:
            yield running
        finally:
            running.kill()


def stopping(daemon: ScriptedDaemon, *, until: Callable[[Request], bool]) -> Callable[[Request], Answer]:
    """A stop after which the deployment is seen stopped, once a request says so."""

    def stop(request: Request) -> Answer:
        if until(request):
            daemon.routes[EVENTS] = server_events(("status", deployment("shop", "stopped", DOWN)))
        return Answer({}, 202)

    return stop


def test_logs_are_followed_until_ctrl_c_stops_it(daemon: ScriptedDaemon) -> None:
    daemon.routes[STOP] = stopping(daemon, until=lambda request: True)
    with up(daemon) as running:
        assert running.stdout
        assert [running.stdout.readline() for _ in range(2)] == ["web-1 | hello\n", "web-2 ! oops\n"]
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "stopping shop (Ctrl-C again kills)" in err
    assert "Traceback" not in err
    assert [request.body for request in daemon.seen(STOP)] == [{}]


def test_logs_go_on_where_they_broke_off(daemon: ScriptedDaemon) -> None:
    later = line("later") | {"at": "2026-01-01T00:00:09.000000Z"}
    daemon.routes[LOGS] = [ndjson(line("hello")), ndjson(line("hello"), later, held=True)]
    daemon.routes[STOP] = stopping(daemon, until=lambda request: True)
    with up(daemon) as running:
        assert running.stdout
        assert [running.stdout.readline() for _ in range(2)] == ["web-1 | hello\n", "web-1 | later\n"]
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert "since=2026-01-01T00%3A00%3A00.000000Z" in daemon.seen(LOGS)[1].target


def test_a_second_ctrl_c_kills(daemon: ScriptedDaemon) -> None:
    asked = Event()

    def remember(request: Request) -> bool:
        asked.set()
        return bool(request.body == {"grace": 0})

    daemon.routes[STOP] = stopping(daemon, until=remember)
    with up(daemon) as running:
        assert running.stdout
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert asked.wait(20)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "killing shop" in err
    assert [request.body for request in daemon.seen(STOP)] == [{}, {"grace": 0}]


def test_a_daemon_that_cannot_kill_goes_on_stopping(daemon: ScriptedDaemon) -> None:
    asked = Event()

    def stop(request: Request) -> Answer:
        asked.set()
        return error_answer(Unsupported("no grace here")) if "grace" in request.body else Answer({}, 202)

    daemon.routes[STOP] = stop
    with up(daemon) as running:
        assert running.stdout
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert asked.wait(20)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "no grace here; shop goes on stopping without us" in err


def test_it_ends_when_the_deployment_is_stopped_elsewhere(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = [
        server_events(("status", deployment("shop"))),
        server_events(("status", deployment("shop", "stopped", DOWN))),
    ]
    done = cli("up")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "shop is stopped"


def test_it_ends_when_the_deployment_is_removed_elsewhere(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = [server_events(("status", deployment("shop"))), Answer({"code": "not_found"}, 404)]
    done = cli("up")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "shop is gone"
