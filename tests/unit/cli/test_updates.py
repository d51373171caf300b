"""history, rollback, pause, resume, abort, why and plan."""

from __future__ import annotations

import json

import pytest

from zlayer.cli import history, plan, rollback, steer, why
from zlayer.testing.api_samples import Cli, container, deployment
from zlayer.testing.api_samples import plan as planned
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, server_events

SHOP = "/api/v1/deployments/shop"
ACCEPTED = Answer({"deployment": "shop", "revision": 3, "changed": True}, 202)
MODULES = (history, plan, rollback, steer, why)
REVISION = {
    "revision": 2,
    "status": "rolled back",
    "at": None,
    "what": "web: image",
    "reason": "web-1: exited with code 3",
}


def test_history(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[f"GET {SHOP}/history"] = Answer([REVISION])
    assert "exited with code 3" in cli("history", "shop").out
    assert json.loads(cli("history", "shop", "--format", "json").out) == [REVISION]


@pytest.mark.parametrize(("given", "sent"), [((), {}), (("7",), {"to": 7})])
def test_rollback_waits_until_it_serves(
    daemon: ScriptedDaemon, cli: Cli, given: tuple[str, ...], sent: dict[str, int]
) -> None:
    daemon.routes |= {
        f"POST {SHOP}/rollback": ACCEPTED,
        f"GET {SHOP}/events": server_events(("status", deployment("shop"))),
        "GET /api/v1/instances": Answer([container()]),
    }
    done = cli("rollback", "shop", *given)
    assert (done.code, done.err.splitlines()[-1]) == (0, "shop is stable: 2 replicas ready")
    assert [r.body for r in daemon.requests if r.target.endswith("/rollback")] == [sent]


def test_an_update_that_was_undone_is_a_failure(daemon: ScriptedDaemon, cli: Cli) -> None:
    undone = deployment("shop", "rolled_back", message="web-1 never got ready")
    daemon.routes |= {
        f"POST {SHOP}/rollback": ACCEPTED,
        f"GET {SHOP}/events": server_events(("status", undone)),
        "GET /api/v1/instances": Answer([container()]),
    }
    done = cli("rollback", "shop")
    assert done.code != 0
    assert "shop was rolled back: web-1 never got ready" in done.err


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_a_hand_on_the_update(daemon: ScriptedDaemon, cli: Cli, verb: str) -> None:
    daemon.routes[f"POST {SHOP}/{verb}"] = ACCEPTED
    assert cli(verb, "shop").code == 0


def test_why(daemon: ScriptedDaemon, cli: Cli) -> None:
    target = f"GET {SHOP}/services/web/why"
    daemon.routes[target] = Answer([{"replica": 1, "reason": "on trial", "until": "2026-01-01T00:00:00Z"}])
    assert cli("why", "--deployment", "shop", "web").out == "web-1: on trial (until 2026-01-01T00:00:00Z)\n"
    daemon.routes[target] = Answer([{"replica": 0, "reason": "port 80 is in use", "until": None}])
    assert cli("why", "--deployment", "shop", "web").out == "web: port 80 is in use\n"
    daemon.routes[target] = Answer([])
    assert cli("why", "--deployment", "shop", "web").out == "web waits for nothing\n"


def test_plan_changes_nothing(daemon: ScriptedDaemon, cli: Cli, tmp_path: object) -> None:
    daemon.routes["POST /api/v1/deployments:plan"] = Answer(planned("create"))
    file = f"{tmp_path}/shop.zlayer.yml"
    with open(file, "w") as text:  # noqa: PTH123 - a path as text
        text.write("deployment: shop\n")
    assert "shop: 1 new" in cli("plan", file).out
    assert all(r.method != "PUT" for r in daemon.requests)
