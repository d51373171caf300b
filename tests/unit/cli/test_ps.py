from __future__ import annotations

import json

import yaml

from zlayer.testing.api_samples import Cli, container, deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

DEPLOYMENTS, INSTANCES = "GET /api/v1/deployments", "GET /api/v1/instances"


def test_services(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[DEPLOYMENTS] = Answer([deployment("shop"), deployment("blog")])
    done = cli("ps")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == ["DEPLOYMENT", "shop", "blog"]
    assert cli("ps", "-q").out == "shop\nblog\n"


def test_json_is_a_list_and_one_object_for_one_deployment(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[DEPLOYMENTS] = Answer([deployment("shop")])
    daemon.routes[f"{DEPLOYMENTS}/shop"] = Answer(deployment("shop"))
    (listed,) = json.loads(cli("ps", "--format", "json").out)
    assert json.loads(cli("ps", "--deployment", "shop", "--format", "json").out) == listed
    assert yaml.safe_load(cli("ps", "--format", "yaml").out) == [listed]
    assert listed["services"][0]["desired"] == 2


def test_containers(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[INSTANCES] = Answer([container()])
    assert "web-1" in cli("ps", "-c").out
    assert json.loads(cli("ps", "-c", "--format", "json").out) == [container()]
    assert cli("ps", "-c", "-q", "--deployment", "shop").out == "shop-web-1-a1b2\n"
    assert daemon.requests[-1].target == "/api/v1/instances?deployment=shop"
