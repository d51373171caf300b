"""The verbs of a deployment's life against a real daemon, registry and runtime."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zlayer.testing.site import Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.slow]

TALK = "trap 'echo bye; exit 0' TERM; n=0; while :; do echo line $n; n=$((n+1)); sleep 0.1; done"


def talker(busybox: str, replicas: int = 2) -> dict[str, object]:
    return deployment(talk=service(busybox, replicas, command={"args": ["sh", "-c", TALK]}))


@contextmanager
def started(site: Site, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on while the test looks."""
    with subprocess.Popen(
        site.argv(*argv), env=site.environ, cwd=site.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(running: subprocess.Popen[str], pattern: str) -> list[str]:
    assert running.stdout
    seen: list[str] = []
    for line in running.stdout:
        seen.append(line.rstrip("\n"))
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"no {pattern!r} in {seen}\n{running.stderr.read() if running.stderr else ''}")


def test_up_plans_deploys_changes_nothing_twice_and_goes(site: Site, web: str) -> None:
    path = site.write(deployment(web=service(web, 2)))
    assert site.cli("up", "--plan", path).stdout.splitlines()[0] == "shop: 2 new"
    assert site.instances() == []
    up = site.cli("up", "-d", path)
    assert up.stderr.splitlines()[-1] == "shop is stable: 2 replicas ready"
    before = {i["id"] for i in site.running()}
    again = site.cli("up", "-d", path)
    assert again.stderr.splitlines()[0] == "shop: nothing to do, 2 unchanged"
    assert {i["id"] for i in site.running()} == before
    (shown,) = json.loads(site.cli("ps", "--format", "json").stdout)
    assert [(s["desired"], s["running"], s["ready"]) for s in shown["services"]] == [(2, 2, 2)]
    assert site.cli("down").stderr.splitlines()[-1] == "shop is gone"
    assert site.instances() == []


def test_scale_stop_and_up_again(site: Site, busybox: str) -> None:
    path = site.write(talker(busybox))
    site.cli("up", "-d", path)
    site.cli("scale", "talk", "3", "--wait")
    assert sorted(i["replica"] for i in site.running()) == [1, 2, 3]
    site.cli("scale", "talk=1", "--wait")
    assert [i["replica"] for i in site.running()] == [1]
    assert site.cli("stop").stderr.splitlines()[-1] == "shop is stopped"
    assert site.running() == []
    site.cli("up", "-d", path)
    assert len(site.running()) == 2


def test_a_deployment_that_cannot_work_fails_with_its_last_words(site: Site, busybox: str) -> None:
    words = "echo starting; echo cannot go on >&2; exit 3"
    path = site.write(deployment(bad=service(busybox, command={"args": ["sh", "-c", words]})))
    done = site.cli("up", "-d", path, check=False)
    assert done.returncode == 1
    assert "bad-1: exited (3)" in done.stderr
    assert "  | cannot go on" in done.stderr


def test_up_in_the_foreground_outlives_the_daemon_and_stops_on_ctrl_c(busybox: str) -> None:
    with Site() as own:  # its daemon is killed, so nobody else's
        own.start()
        with started(own, "up", own.write(talker(busybox))) as running:
            seen = read_until(running, r"talk-1 +\| line 5$")
            own.kill()
            own.start()
            seen += read_until(running, r"talk-1 +\| line 60$")
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
        assert running.returncode == 130, err
        told = [int(m[1]) for line in seen if (m := re.fullmatch(r"talk-1 +\| line (\d+)", line))]
        assert told == list(range(61)), "no line lost, none told twice"
        assert "talk-2 | bye" in out.splitlines()
        assert own.running() == []


def test_logs_of_one_replica_and_followed(site: Site, busybox: str) -> None:
    site.cli("up", "-d", site.write(talker(busybox)))
    assert {line.split()[0] for line in site.cli("logs", "talk").stdout.splitlines()} == {"talk-1", "talk-2"}
    lines = site.cli("logs", "talk", "-i", "2", "-n", "3").stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("talk-2 | line ") for line in lines)
    with started(site, "logs", "-f", "-n", "0", "--no-prefix", "-i", "1", "talk") as running:
        first = int(read_until(running, "line")[0].split()[1])
        assert read_until(running, "line") == [f"line {first + 1}"]
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_exec_passes_streams_environment_and_exit_code(site: Site, busybox: str) -> None:
    site.cli("up", "-d", site.write(talker(busybox)))
    script = 'echo "$A $(hostname) $(pwd)"; cat >&2; exit 7'
    argv = ("exec", "-i", "-e", "A=1", "-w", "/tmp", "-r", "2", "talk", "--", "sh", "-c", script)
    done = site.cli(*argv, check=False, stdin="through")
    assert (done.returncode, done.stdout, done.stderr) == (7, "1 talk-2 /tmp\n", "through")
    assert site.cli("exec", "talk", "--", "no-such-program", check=False).returncode == 127
    assert site.cli("exec", "talk", "--", "/etc/passwd", check=False).returncode == 126


def test_a_spec_that_is_wrong_changes_nothing(site: Site, busybox: str) -> None:
    path = site.write(deployment(web={"imge": {"name": busybox}, "colour": "red"}))
    done = site.cli("up", "-d", path, check=False)
    assert done.returncode == 2
    assert "did you mean 'image'?" in done.stderr
    assert re.search(r"^  app\.zlayer\.yml:\d+:\d+: ", done.stderr, re.MULTILINE)
    assert site.cli("ps", "-q").stdout == ""


def test_completion_knows_what_runs(site: Site, busybox: str) -> None:
    site.cli("up", "-d", site.write(talker(busybox, 1)))
    assert site.cli("__complete", "logs", "t").stdout == "talk\n"
    assert site.cli("__complete", "down", "").stdout == "shop\n"
