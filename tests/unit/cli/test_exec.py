from __future__ import annotations

import pytest

from zlayer.cli.exec import environment
from zlayer.testing.api_samples import Cli, deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


def test_environment_as_docker_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "here")
    monkeypatch.delenv("NOBODYS", raising=False)
    assert environment(["A=1", "B=", "C=x=y", "MINE", "NOBODYS"]) == {"A": "1", "B": "", "C": "x=y", "MINE": "here"}


def test_a_service_that_is_not_there(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes |= {"GET /api/v1/deployments": Answer([deployment("shop")]), "GET /api/v1/instances": Answer([])}
    done = cli("exec", "wep", "--", "ls")
    assert done.code == 1
    assert "did you mean 'web'?" in done.err


def test_what_the_daemon_refuses(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/deployments"] = Answer([deployment("shop")])
    done = cli("exec", "web", "--", "ls")  # the scripted daemon has no such socket
    assert done.code == 1
    assert "services/web/exec" in done.err
