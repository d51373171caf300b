from __future__ import annotations

import argparse

import pytest

from zlayer.cli import parsing, run
from zlayer.model.errors import Invalid
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import ScriptedDaemon, error_answer, ndjson

RUN = "POST /api/v1/run"


def read(*argv: str) -> argparse.Namespace:
    return parsing.parse("run", run, list(argv))


def test_only_what_was_said_is_asked_for() -> None:
    assert run.request(read("alpine"), tty=False) == {"image": "alpine", "command": []}


def test_every_option_arrives() -> None:
    args = read(
        "--rm", "-i", "-e", "A=1", "-v", "/a:/b:ro", "--memory", "512m", "--cpus", "0.5", "--name", "n", "-w", "/w",
        "-u", "1000:1000", "--hostname", "h", "--entrypoint", "sh", "--pull", "newer", "--platform", "linux/arm64",
        "--network", "none", "--privileged", "--read-only", "alpine", "-c", "ls --all",
    )  # fmt: skip
    assert run.request(args, tty=True) == {
        "image": "alpine", "command": ["-c", "ls --all"], "env": {"A": "1"},
        "mounts": [{"target": "/b", "readonly": True, "source": "/a"}], "memory": 512 * 2**20, "cpu": 0.5,
        "name": "n", "workdir": "/w", "user": "1000:1000", "hostname": "h", "entrypoint": ["sh"], "pull": "newer",
        "platform": "linux/arm64", "network": "none", "privileged": True, "read_only": True, "rm": True, "tty": True,
        "stdin": True,
    }  # fmt: skip


def test_detached_it_prints_the_id(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[RUN] = ndjson(
        {"event": "pulling", "digest": "sha256:0123456789abcdef", "phase": "downloading", "done": 0, "total": 1},
        {"event": "pulling", "digest": "sha256:fedcba9876543210", "phase": "exists", "done": 1, "total": 1},
        {"event": "created", "id": "_run-calm-1-a1"},
    )
    done = cli("run", "-d", "alpine", "sleep", "9")
    assert (done.code, done.out, done.err) == (0, "_run-calm-1-a1\n", "0123456789ab downloading\n")
    assert daemon.seen(RUN)[0].body == {"image": "alpine", "command": ["sleep", "9"], "detach": True}


def test_detached_it_fails_when_it_ended_badly_at_once(daemon: ScriptedDaemon, cli: Cli) -> None:
    exited = {"event": "exited", "code": 127, "reason": "no such program"}
    daemon.routes[RUN] = ndjson({"event": "created", "id": "i"}, exited)
    done = cli("run", "-d", "alpine", "nope")
    assert (done.code, done.err) == (127, "zlayer: no such program\n")


@pytest.mark.parametrize("argv", [("-d", "alpine"), ("alpine",)])
def test_what_fails_before_the_container_is_125(daemon: ScriptedDaemon, cli: Cli, argv: tuple[str, ...]) -> None:
    daemon.routes[RUN] = daemon.routes["GET /api/v1/run"] = error_answer(Invalid("no image 'alpine'"))
    done = cli("run", *argv)
    assert done.code == 125
    assert "no image 'alpine'" in done.err


def test_a_wrong_option_is_a_usage_error(cli: Cli) -> None:
    assert cli("run", "--memory", "lots", "alpine").code == 125
    assert cli("run").code == 125
