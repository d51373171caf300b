from __future__ import annotations

import json

import pytest

from zlayer.testing.api_samples import Cli, container, deployment, line
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, ndjson

SERVICE = "GET /api/v1/deployments/shop/services/web/logs"


@pytest.fixture(autouse=True)
def shop(daemon: ScriptedDaemon) -> None:
    daemon.routes |= {
        "GET /api/v1/deployments": Answer([deployment("shop")]),
        SERVICE: ndjson(line("one"), line("two", 2, "stderr")),
        "GET /api/v1/deployments/shop/logs": ndjson(line("all")),
        "GET /api/v1/instances/shop-web-1-a1b2/logs": ndjson(line("mine")),
    }


def test_prefixed_lines(cli: Cli) -> None:
    done = cli("logs", "web")
    assert (done.code, done.out, done.err) == (0, "web-1 | one\nweb-2 ! two\n", "")
    assert cli("logs", "--no-prefix", "shop/web").out == "one\ntwo\n"
    assert cli("logs", "web", "-t", "--no-prefix").out.splitlines()[0] == "2026-01-01T00:00:00.000000Z one"


def test_what_is_asked_for(daemon: ScriptedDaemon, cli: Cli) -> None:
    cli("logs", "web", "-f", "-i", "2", "-n", "7", "--since", "10m")
    assert daemon.seen(SERVICE)[-1].target.endswith("?lines=7&follow=true&since=10m&instance=2")
    cli("logs", "web", "-n", "all")
    assert daemon.seen(SERVICE)[-1].target.endswith("?lines=1000000")


def test_a_deployment_and_an_instance(cli: Cli) -> None:
    assert cli("logs", "--deployment", "shop").out == "web-1 | all\n"
    assert cli("logs", "-i", "shop-web-1-a1b2").out == "web-1 | mine\n"


def test_a_one_off(daemon: ScriptedDaemon, cli: Cli) -> None:
    one = container(deployment="_run", service="queue", id="run-queue-1-x7k2")
    daemon.routes |= {
        "GET /api/v1/instances": Answer([one]),
        "GET /api/v1/instances/run-queue-1-x7k2/logs": ndjson(line("theirs")),
    }
    assert cli("logs", "--no-prefix", "queue").out == "theirs\n"


def test_json_lines(cli: Cli) -> None:
    lines = cli("logs", "web", "--format", "json").out.splitlines()
    assert [json.loads(text)["data"] for text in lines] == ["one", "two"]


def test_usage(cli: Cli) -> None:
    assert cli("logs", "web", "-n", "some").code == 2
    assert cli("logs", "-i", "2").code == 2
    assert cli("logs", "wep").code == 1
