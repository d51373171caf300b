from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.testing.api_samples import Cli, container, deployment, plan
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, server_events

PLAN, DEPLOY = "POST /api/v1/deployments:plan", "POST /api/v1/deployments"
EVENTS = "GET /api/v1/deployments/shop/events"


@pytest.fixture(autouse=True)
def accepted(daemon: ScriptedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zlayer.yml").write_text("deployment: shop\n")
    daemon.routes |= {
        PLAN: Answer(plan("create")),
        DEPLOY: Answer({"deployment": "shop", "revision": 3, "changed": True}, 202),
        "GET /api/v1/instances": Answer([container()]),
    }


def test_in_the_background_it_returns_at_once(daemon: ScriptedDaemon, cli: Cli) -> None:
    done = cli("up", "-b")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "shop is on its way; `zlayer ps` shows how it goes"
    assert daemon.seen(EVENTS) == []


def test_detached_it_returns_when_stable(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = server_events(("status", deployment("shop")))
    done = cli("up", "-d", "zlayer.yml")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[-1] == "shop is stable: 2 replicas ready"


def test_a_dry_run_wins_over_how_to_return(daemon: ScriptedDaemon, cli: Cli) -> None:
    assert cli("up", "-d", "--dry-run").out.startswith("shop: 1 new")
    assert daemon.seen(DEPLOY) == []


def test_detached_and_background_exclude_each_other(cli: Cli) -> None:
    assert cli("up", "-d", "-b").code == 2
    assert cli("up", "--pull", "--no-pull").code == 2
