from __future__ import annotations

import io

import pytest

from zlayer.cli import follow
from zlayer.cli.screen import Screen
from zlayer.client.client import Client
from zlayer.client.results import Container, Deployment, ProgressEvent
from zlayer.client.transport import Address
from zlayer.model.errors import Deadline, Failed, NotFound
from zlayer.testing.api_samples import container, deployment, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, problem_answer, server_events

EVENTS = "GET /api/v1/deployments/shop/events"
EVENT = ("", {"kind": "instance.ready", "service": "web", "at": "2026-01-01T00:00:00Z"})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def api(daemon: ScriptedDaemon) -> Client:
    return Client(Address(path=str(daemon.data_dir / "zlayer.sock")))


def test_a_broken_stream_is_taken_up_again_without_telling_twice(daemon: ScriptedDaemon, api: Client) -> None:
    daemon.routes[EVENTS] = [
        server_events(("status", deployment("shop", "deploying")), EVENT, held=False),
        Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        server_events(("status", deployment("shop", "deploying")), EVENT, ("status", deployment("shop"))),
    ]
    seen = []
    for item in follow.watch(api, "shop", 10):
        seen.append(item)
        if isinstance(item, Deployment) and item.status == "running":
            break
    assert [type(item) for item in seen] == [Deployment, ProgressEvent, Deployment, Deployment]


def test_silence_ends_in_time(daemon: ScriptedDaemon, api: Client) -> None:
    daemon.routes[EVENTS] = server_events(("status", deployment("shop", "deploying")))
    with pytest.raises(Deadline):
        list(follow.watch(api, "shop", 0.2))


def test_what_is_gone_is_not_found(daemon: ScriptedDaemon, api: Client) -> None:
    daemon.routes[EVENTS] = problem_answer(404, "not_found", "gone")
    with pytest.raises(NotFound):
        list(follow.watch(api, "shop", 5))


def test_on_a_terminal_progress_is_redrawn(daemon: ScriptedDaemon, api: Client) -> None:
    err = Terminal()
    screen = Screen(io.StringIO(), err, environ={"NO_COLOR": "1"})
    starting = deployment("shop", "deploying", service(ready=1))
    daemon.routes[EVENTS] = server_events(("status", starting), ("status", deployment("shop")))
    follow.until(api, "shop", screen, follow.stable, timeout=5)
    first, last = err.getvalue().split("\x1b[2F\x1b[J")[0], err.getvalue().split("\x1b[J")[-1]
    assert first.splitlines() == ["shop  deploying", "  web  1/2 ready  [######------]"]
    assert last.splitlines() == ["shop  running", "  web  2/2 ready  [############]"]


def test_the_worst_container_is_the_one_to_show() -> None:
    def named(name: str, **changes: object) -> Container:
        return Container.of(container(id=name, health="none", **changes))

    fine, waiting = named("fine"), named("waiting", state="pending")
    old = named("old", state="exited", exit_code=1)
    new = named("new", state="failed", created_at="2026-02-01T00:00:00Z")
    clean = named("clean", state="exited", exit_code=0)
    assert follow.worst((fine, waiting, old, new, clean)) == new
    assert follow.worst((fine, waiting, clean)) == waiting
    assert follow.worst((fine, clean)) is None


TROUBLE = [{"service": "web", "reason": "cannot listen on 0.0.0.0:80: in use by nginx (pid 12)"}]


def test_replicas_that_are_well_without_their_traffic_are_not_enough(
    daemon: ScriptedDaemon, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BEARABLE", 0.0)
    troubled = ("status", deployment("shop", trouble=TROUBLE))
    daemon.routes[EVENTS] = server_events(troubled, troubled)
    with pytest.raises(Failed, match=r"web: cannot listen on 0.0.0.0:80: in use by nginx \(pid 12\)"):
        follow.until(api, "shop", Screen(io.StringIO(), io.StringIO(), environ={}), follow.stable, timeout=5)


def test_a_port_that_changes_hands_is_waited_for(daemon: ScriptedDaemon, api: Client) -> None:
    daemon.routes[EVENTS] = server_events(
        ("status", deployment("shop", trouble=TROUBLE)), ("status", deployment("shop", trouble=[]))
    )
    screen = Screen(io.StringIO(), io.StringIO(), environ={})
    assert follow.until(api, "shop", screen, follow.stable, timeout=5).trouble == ()


def test_stable_and_stopped() -> None:
    up = Deployment.of(deployment("shop", "running", service("web"), service("db", running=0, ready=0, desired=0)))
    assert follow.stable(up)
    assert not follow.stopped(None)(up)
    assert follow.stopped("db")(up)
    assert not follow.stopped("web")(up)
    assert follow.stopped(None)(Deployment.of(deployment("shop", "stopped")))
    assert not follow.stable(Deployment.of(deployment("shop", "deploying")))


def test_in_a_log_a_note_is_a_line_until_it_says_something_else(daemon: ScriptedDaemon, api: Client) -> None:
    notes = ["web-1: pulling (1 of 2 MiB) a:1", "web-1: pulling (2 of 2 MiB) a:1", "web-1: unpacking a:1", ""]
    created = ("", {"kind": "instance.created", "service": "web", "message": "new replica"})
    again = ("", {"kind": "instance.created", "service": "web", "instance": "shop-web-1-x", "message": "restart 1"})
    summaries = [("status", deployment("shop", "deploying", service(ready=0, note=note))) for note in notes]
    daemon.routes[EVENTS] = server_events(created, *summaries, again, ("status", deployment("shop")))
    err = io.StringIO()
    follow.until(api, "shop", Screen(io.StringIO(), err, environ={}), follow.stable, timeout=10)
    assert err.getvalue().splitlines() == [notes[0], notes[2], "web-1: restart 1"]
