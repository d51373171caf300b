from __future__ import annotations

import io

import pytest

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

LOGIN = "POST /api/v1/registries/login"


def test_the_password_comes_by_standard_input_only(
    daemon: ScriptedDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.routes[LOGIN] = Answer({"registry": "ghcr.io", "username": "me"})
    monkeypatch.setattr("sys.stdin", io.StringIO("se cret\n"))
    done = cli("login", "ghcr.io", "-u", "me", "--password-stdin")
    assert (done.code, done.err) == (0, "logged in to ghcr.io as me\n")
    assert daemon.seen(LOGIN)[0].body == {"registry": "ghcr.io", "username": "me", "password": "se cret"}


def test_nothing_is_asked_where_nobody_can_answer(
    daemon: ScriptedDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for argv in (("login", "ghcr.io"), ("login", "ghcr.io", "-u", "me")):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        done = cli(*argv)
        assert done.code == 2
        assert "--password-stdin" in done.err
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "empty" in cli("login", "ghcr.io", "-u", "me", "--password-stdin").err
    assert daemon.seen(LOGIN) == []


def test_the_list_and_the_way_out(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/registries"] = Answer([{"registry": "ghcr.io", "username": "me"}])
    daemon.routes["DELETE /api/v1/registries/localhost:5000"] = Answer({"registry": "localhost:5000"})
    assert cli("login").out.split() == ["REGISTRY", "USER", "ghcr.io", "me"]
    assert cli("login", "--format", "json").code == 0
    assert cli("logout", "localhost:5000").err == "logged out of localhost:5000\n"
    assert cli("logout").code == 2
