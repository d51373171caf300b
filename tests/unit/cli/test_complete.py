from __future__ import annotations

import pytest

from zlayer.cli.complete import candidates
from zlayer.testing.api_samples import Cli, deployment, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


@pytest.fixture(autouse=True)
def shop(daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZLAYER_HOST", raising=False)
    monkeypatch.setenv("ZLAYER_DATA_DIR", str(daemon.data_dir))
    docs = [deployment("shop", "running", service("web"), service("worker")), deployment("blog")]
    daemon.routes["GET /api/v1/deployments"] = Answer(docs)
    daemon.routes["GET /api/v1/certificates"] = Answer([{"name": "a.org"}, {"name": "*.b.org"}])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["d"], {"deploy", "down", "daemon", "doctor"}),
        (["--da"], {"--data-dir"}),
        (["ps", "--for"], {"--format"}),
        (["ps", "--format", ""], {"table", "json", "yaml"}),
        (["logs", "w"], {"web", "worker"}),
        (["exec", "-it", "wo"], {"worker"}),
        (["logs", "--deployment", ""], {"shop", "blog"}),
        (["stop", "-s", "wor"], {"worker"}),
        (["down", ""], {"shop", "blog"}),
        (["daemon", "st"], {"start", "stop", "status"}),
        (["image", "ls", "--q"], {"--quiet"}),
        (["cert", ""], {"ls", "show", "renew"}),
        (["cert", "renew", ""], {"a.org", "*.b.org"}),
        (["cert", "show", "a"], {"a.org"}),
        (["completions", ""], {"bash", "zsh", "fish"}),
        (["nothing", ""], set()),
        (["exec", "web", "--", ""], set()),
    ],
)
def test_what_can_come_next(words: list[str], found: set[str]) -> None:
    assert candidates(words) == found


def test_a_silent_daemon_costs_no_more_than_the_budget(daemon: ScriptedDaemon) -> None:
    daemon.routes["GET /api/v1/deployments"] = Answer(raw=b"HTTP/1.1 200 OK\r\n", held=True)
    assert candidates(["logs", ""]) == set()


def test_no_daemon_is_started(cli: Cli) -> None:
    done = cli("--data-dir", "/tmp/zl-nothing-here", "__complete", "logs", "")
    assert (done.code, done.err) == (0, "")


def test_as_a_command_it_is_one_word_a_line(cli: Cli) -> None:
    assert cli("__complete", "down", "").out == "blog\nshop\n"
