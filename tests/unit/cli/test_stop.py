from __future__ import annotations

from zlayer.testing.api_samples import Cli, deployment, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, server_events

STOP, EVENTS = "POST /api/v1/deployments/shop/stop", "GET /api/v1/deployments/shop/events"


def test_waits_until_nothing_runs(daemon: ScriptedDaemon, cli: Cli) -> None:
    stopped = deployment("shop", "stopped", service(running=0, ready=0))
    daemon.routes |= {
        STOP: Answer({}, 202),
        EVENTS: server_events(("status", deployment("shop")), ("status", stopped)),
    }
    done = cli("stop", "shop", "-t", "0")
    assert (done.code, done.err) == (0, "shop is stopped\n")
    assert daemon.seen(STOP)[0].body == {"grace": 0}


def test_one_service_of_several(daemon: ScriptedDaemon, cli: Cli) -> None:
    half = deployment("shop", "running", service("web", desired=0, running=0, ready=0), service("db"))
    daemon.routes |= {STOP: Answer({}, 202), EVENTS: server_events(("status", half))}
    done = cli("stop", "shop", "-s", "web")
    assert (done.code, done.err) == (0, "shop/web is stopped\n")
    assert daemon.seen(STOP)[0].body == {"service": "web"}
