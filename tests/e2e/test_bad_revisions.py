"""A revision that does not work is never reached, undone by itself, told, and leaves with a non-zero exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.testing.site import Site, deployment, service

from .test_traffic import HTTPD, endpoint, get, page, port, soon, steady

__all__ = ["port"]
pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

UPDATE = {"min_ready": "6s", "deadline": "12s", "drain": "2s"}
NEVER = {**HTTPD, "args": ["echo I never listen; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}
CRASH = {**HTTPD, "args": ["mkdir /www; echo bad > /www/index.html; httpd -p 80 -h /www; sleep 5; echo boom; exit 3"]}
"""Ready at once, gone after five seconds."""
WRONG = {**HTTPD, "args": ["mkdir /www; httpd -p 80 -h /www; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}
"""Answers, but never with the page that the check asks for."""
CHECK = {
    "interval": "1s",
    "retries": 1,
    "start_grace": "1s",
    "check": {"type": "http", "path": "/index.html", "port": 80},
}


def version(image: str, command: dict[str, Any], at: int) -> dict[str, Any]:
    web = service(
        image, 2, command=command, endpoints=[endpoint(at, expose=True)], health=CHECK, update=UPDATE,
        restart_policy={"kind": "always"},
    )  # fmt: skip
    return deployment(name(at), web=web)


def name(at: int) -> str:
    """A deployment of its own for each test: the daemon is shared, and so are its events."""
    return f"shop{at}"


def told(site: Site, kind: str, at: int) -> bool:
    return any(kind in line and name(at) in line for line in site.cli("events").stdout.splitlines())


@pytest.mark.parametrize("bad", [NEVER, CRASH, WRONG], ids=["never-ready", "crashes-after-5s", "answers-an-error"])
def test_users_never_reach_it(site: Site, busybox: str, port: int, bad: dict[str, Any]) -> None:
    site.cli("up", "-d", site.write(version(busybox, page("good"), port)))
    soon(lambda: told(site, "deployment.good", port), "the first revision has stood its trial")
    before = {one["id"] for one in site.running("web")}
    with steady(port) as seen:
        done = site.cli("up", "-d", site.write(version(busybox, bad, port)), check=False)
        answers = {get(port) for _ in range(20)}
    assert done.returncode != 0, done.stderr
    assert "web-" in done.stderr, "the failing replica is named"
    assert set(seen) == {200}
    assert answers == {(200, "good")}
    assert {one["id"] for one in site.running("web")} >= before, "what served goes on serving"
    soon(lambda: told(site, "deployment.rolled_back", port), "the way back is told")
    soon(lambda: json.loads(site.cli("ps", "--format", "json").stdout)[0]["status"] == "rolled_back", "it is back")
    assert {get(port) for _ in range(20)} == {(200, "good")}


def test_the_last_words_of_the_culprit_are_shown(site: Site, busybox: str, port: int) -> None:
    site.cli("up", "-d", site.write(version(busybox, page("good"), port)))
    soon(lambda: told(site, "deployment.good", port), "the first revision has stood its trial")
    done = site.cli("up", "-d", site.write(version(busybox, CRASH, port)), check=False)
    assert "boom" in done.stderr + done.stdout


def test_history_and_the_way_back(site: Site, busybox: str, port: int) -> None:
    for text in ("one", "two"):
        document = version(busybox, page(text), port)
        document["services"]["web"]["update"] = {"min_ready": "0s", "drain": "1s"}
        site.cli("up", "-d", site.write(document))
        assert get(port) == (200, text)
    listed = json.loads(site.cli("history", name(port), "--format", "json").stdout)
    assert [one["revision"] for one in listed][-2:] == [1, 2] or [one["revision"] for one in listed][:2] == [2, 1]
    site.cli("rollback", name(port))
    assert get(port) == (200, "one")
