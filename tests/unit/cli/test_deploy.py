from __future__ import annotations

import json
from pathlib import Path

import pytest

from zlayer.cli import deploy
from zlayer.model import errors
from zlayer.testing.api_samples import Cli, container, deployment, line, plan, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, error_answer, ndjson, server_events

PLAN, DEPLOY = "POST /api/v1/deployments:plan", "POST /api/v1/deployments"
EVENTS = "GET /api/v1/deployments/shop/events"
INSTANCES = "GET /api/v1/instances"
ACCEPTED = Answer({"deployment": "shop", "revision": 3, "changed": True}, 202)


@pytest.fixture(autouse=True)
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shop.zlayer.yml"
    path.write_text("version: v1\ndeployment: shop\n")
    return path


def test_waits_until_it_is_stable(daemon: ScriptedDaemon, cli: Cli, spec: Path) -> None:
    starting = deployment("shop", "deploying", service(ready=0, running=0))
    daemon.routes |= {
        PLAN: Answer(plan("create", "create")),
        DEPLOY: ACCEPTED,
        EVENTS: server_events(
            ("status", starting),
            ("", {"kind": "instance.ready", "message": "replica 1 is ready", "service": "web"}),
            ("status", deployment("shop")),
        ),
        INSTANCES: Answer([container()]),
    }
    done = cli("deploy")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "shop: 2 new",
        "  + create web-1..2: image changed",
        "web: replica 1 is ready",
        "shop is stable: 2 replicas ready",
    ]
    (sent,) = daemon.seen(DEPLOY)
    assert sent.body == {"spec": spec.read_text(), "file": str(spec), "revision": 2}


def test_a_running_deployment_of_which_something_old_lives_is_not_stable(daemon: ScriptedDaemon, cli: Cli) -> None:
    unsettled = deployment("shop", "running", service(settled=False))
    daemon.routes |= {PLAN: Answer(plan()), DEPLOY: ACCEPTED, EVENTS: server_events(("status", unsettled)),
                      INSTANCES: Answer([])}  # fmt: skip
    assert cli("deploy", "--timeout", "0.2").code == 4


@pytest.mark.parametrize("flag", ["--dry-run", "--plan"])
def test_a_plan_is_printed_and_changes_nothing(daemon: ScriptedDaemon, cli: Cli, flag: str) -> None:
    daemon.routes[PLAN] = Answer(plan("create", "keep"))
    done = cli("deploy", flag)
    assert (done.code, done.err) == (0, "")
    assert done.out == "shop: 1 new, 1 unchanged\n  + create web-1: image changed\n"
    assert daemon.seen(DEPLOY) == []
    doc = json.loads(cli("deploy", flag, "--format", "json").out)
    assert [change["action"] for change in doc["changes"]] == ["create", "keep"]


@pytest.mark.parametrize(("flag", "policy"), [("--pull", "always"), ("--no-pull", "never")])
def test_pull_policies(daemon: ScriptedDaemon, cli: Cli, flag: str, policy: str) -> None:
    daemon.routes[PLAN] = Answer(plan())
    cli("deploy", flag, "--dry-run")
    assert daemon.seen(PLAN)[0].body["pull"] == policy


def test_a_failure_names_the_replica_its_reason_and_its_last_words(daemon: ScriptedDaemon, cli: Cli) -> None:
    failed = deployment("shop", "failed", service(ready=0), message="web does not start", culprit="shop-web-1-a1b2")
    daemon.routes |= {
        PLAN: Answer(plan("create")),
        DEPLOY: ACCEPTED,
        EVENTS: server_events(("status", failed)),
        INSTANCES: Answer([container(state="exited", exit_code=3, reason="exit code 3")]),
        "GET /api/v1/instances/shop-web-1-a1b2/logs": ndjson(line("panic: no config")),
    }
    done = cli("deploy")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[2:] == [
        "error: web does not start",
        "  web-1: exit code 3",
        "  | panic: no config",
        "hint: `zlayer logs --deployment shop web` shows more; `zlayer down shop` ends it",
    ]


def test_what_nothing_checks_must_live_a_while(
    daemon: ScriptedDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "PROVEN", 0.1)
    up, restarting = deployment("shop"), deployment("shop", "deploying", service(ready=0))
    daemon.routes |= {
        PLAN: Answer(plan("create")),
        DEPLOY: ACCEPTED,
        EVENTS: [server_events(("status", up)), server_events(("status", restarting)), server_events(("status", up))],
        INSTANCES: Answer([container(health="none")]),
    }
    assert cli("deploy").code == 0
    assert len(daemon.seen(EVENTS)) == 4  # stable, not held, stable again, held


def test_what_was_not_changed_need_not_prove_itself(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {
        PLAN: Answer(plan("keep")),
        DEPLOY: Answer({"deployment": "shop", "revision": 2, "changed": False}, 202),
        EVENTS: server_events(("status", deployment("shop"))),
    }
    assert cli("deploy").code == 0
    assert daemon.seen(INSTANCES) == []


def test_too_slow_is_a_deadline_that_says_who(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {
        PLAN: Answer(plan("create")),
        DEPLOY: ACCEPTED,
        EVENTS: server_events(("status", deployment("shop", "deploying", service(ready=0)))),
        INSTANCES: Answer([container(state="pending", health="none", reason="pulling nginx")]),
        "GET /api/v1/instances/shop-web-1-a1b2/logs": ndjson(),
    }
    done = cli("deploy", "--timeout", "0.2")
    assert done.code == 4
    assert "shop was not stable after 0.2 seconds" in done.err
    assert "web-1: pulling nginx" in done.err


def test_a_bad_spec_is_shown_with_every_problem(daemon: ScriptedDaemon, cli: Cli, spec: Path) -> None:
    problems = (errors.Problem("unknown key 'servces'", "", str(spec), 3, 1, "services"),)
    daemon.routes[PLAN] = error_answer(errors.Invalid("the spec is not valid", problems=problems))
    done = cli("deploy")
    assert done.code == 2
    assert "  shop.zlayer.yml:3:1: unknown key 'servces' (did you mean 'services'?)" in done.err.splitlines()


def test_a_deployment_that_changed_meanwhile_is_a_conflict(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {PLAN: Answer(plan("create")), DEPLOY: error_answer(errors.Conflict("changed meanwhile"))}
    assert cli("deploy").code == 6


def test_no_spec_here_is_explained(cli: Cli, spec: Path) -> None:
    spec.unlink()
    done = cli("deploy")
    assert done.code == 1
    assert "no deployment file" in done.err
