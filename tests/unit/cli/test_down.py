from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.testing.api_samples import Cli, container, deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, ndjson, problem_answer, server_events

DELETE, EVENTS = "DELETE /api/v1/deployments/shop", "GET /api/v1/deployments/shop/events"
GONE = problem_answer(404, "not_found", "no deployment 'shop'")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_waits_until_it_is_gone(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {
        DELETE: Answer({}, 202),
        EVENTS: [server_events(("status", deployment("shop", "removing")), held=False), GONE],
    }
    done = cli("down", "shop")
    assert (done.code, done.out, done.err) == (0, "", "shop is gone\n")
    assert len(daemon.seen(EVENTS)) == 2


def test_without_a_name_the_only_one(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {
        "GET /api/v1/deployments": Answer([deployment("shop")]),
        DELETE: Answer({}, 202),
        EVENTS: GONE,
    }
    assert cli("down").code == 0


def test_what_does_not_go_is_a_deadline_that_says_who(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {
        DELETE: Answer({}, 202),
        EVENTS: server_events(("status", deployment("shop", "removing"))),
        "GET /api/v1/instances": Answer([container(health="unhealthy", reason="does not stop")]),
        "GET /api/v1/instances/shop-web-1-a1b2/logs": ndjson(),
    }
    done = cli("down", "shop", "--timeout", "0.2")
    assert done.code == 4
    assert "web-1: does not stop" in done.err


def test_what_is_not_there(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[DELETE] = GONE
    assert cli("down", "shop").code == 1
