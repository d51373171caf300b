from __future__ import annotations

import pytest

from zlayer.cli.scale import wanted
from zlayer.model.errors import Invalid
from zlayer.testing.api_samples import Cli, deployment, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, server_events

SCALE, EVENTS = "POST /api/v1/deployments/shop/scale", "GET /api/v1/deployments/shop/events"


@pytest.fixture(autouse=True)
def shop(daemon: ScriptedDaemon) -> None:
    daemon.routes |= {
        "GET /api/v1/deployments": Answer([deployment("shop", "running", service("web"), service("db"))]),
        SCALE: Answer({}, 202),
    }


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (["web", "5"], {"web": 5}),
        (["web=5", "db=0"], {"web": 5, "db": 0}),
    ],
)
def test_both_forms(words: list[str], counts: dict[str, int]) -> None:
    assert wanted(words) == counts


@pytest.mark.parametrize("words", [["web"], ["web", "x"], ["web", "-1"], ["web=", "db=1"], ["=3"]])
def test_neither_form(words: list[str]) -> None:
    with pytest.raises(Invalid):
        wanted(words)


def test_one_deployment_at_a_time(daemon: ScriptedDaemon, cli: Cli) -> None:
    docs = [deployment("shop", "running", service("web")), deployment("blog", "running", service("site"))]
    daemon.routes["GET /api/v1/deployments"] = Answer(docs)
    assert cli("scale", "web=1", "site=1").code == 2
    assert daemon.seen(SCALE) == []


def test_one_request_for_several_services(daemon: ScriptedDaemon, cli: Cli) -> None:
    assert cli("scale", "web=5", "db=1").code == 0
    assert daemon.seen(SCALE)[0].body == {"services": {"web": 5, "db": 1}}


def test_wait_returns_when_they_are_ready(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = server_events(
        ("status", deployment("shop", "running", service("web"))),
        ("status", deployment("shop", "deploying", service("web", desired=3, running=3, ready=2))),
        ("status", deployment("shop", "running", service("web", desired=3, running=3, ready=3))),
    )
    assert cli("scale", "web", "3", "--wait").code == 0


def test_wait_gives_up_in_time(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {EVENTS: server_events(("status", deployment("shop"))), "GET /api/v1/instances": Answer([])}
    assert cli("scale", "web", "3", "--wait", "--timeout", "0.2").code == 4


def test_what_means_nothing_is_a_usage_error(daemon: ScriptedDaemon, cli: Cli) -> None:
    assert cli("scale", "web").code == 2
    assert daemon.seen(SCALE) == []
