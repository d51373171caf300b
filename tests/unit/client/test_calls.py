from __future__ import annotations

import json

import pytest

from zlayer.client import calls, results
from zlayer.client.calls import LogQuery, ServerEvents
from zlayer.model.errors import Exhausted, Failed


def test_names_are_quoted_in_paths_and_queries() -> None:
    assert calls.deployment("a/b c").target == "/api/v1/deployments/a%2Fb%20c"
    assert calls.containers("ü").target == "/api/v1/instances?deployment=%C3%BC"
    assert calls.image("localhost:5000/a/b@sha256:1").target == "/api/v1/images/localhost:5000/a/b@sha256:1"


def test_a_query_leaves_out_what_was_not_said() -> None:
    assert calls.query(a=None, b=False, c=True, d=3) == "?c=true&d=3"
    assert calls.query() == ""


def test_logs_of_a_service_a_deployment_and_an_instance() -> None:
    assert calls.logs("shop", LogQuery(service="web", replica=2, follow=True)).target == (
        "/api/v1/deployments/shop/services/web/logs?lines=100&follow=true&instance=2"
    )
    assert calls.logs("shop", LogQuery(lines=None)).target == "/api/v1/deployments/shop/logs?lines=1000000"
    assert calls.instance_logs("i-1", LogQuery(lines=0)).target == "/api/v1/instances/i-1/logs?lines=0"


def test_bodies_carry_only_what_was_said() -> None:
    assert calls.stop("d", None, None).body == {}
    assert calls.stop("d", "web", 0.0).body == {"service": "web", "grace": 0.0}
    assert calls.deploy("s", "f", None, None).body == {"spec": "s", "file": "f"}
    assert calls.deploy("s", "f", "always", 0).body == {"spec": "s", "file": "f", "pull": "always", "revision": 0}


def test_a_problem_in_the_middle_of_a_stream_is_raised() -> None:
    raw = json.dumps({"error": Exhausted("disk full").document()}).encode()
    with pytest.raises(Exhausted, match="disk full"):
        calls.line(calls.pull("x", None, None), raw)
    assert calls.line(calls.pull("x", None, None), b"") is None


def test_a_pull_ends_with_its_image() -> None:
    read = calls.pull("x", None, None).read
    assert read({"digest": "sha256:1", "phase": "done"}) == results.PullProgress(digest="sha256:1", phase="done")
    assert read({"image": {"reference": "x"}}) == results.Image(reference="x")


def test_server_events_are_read_line_by_line() -> None:
    reader = ServerEvents()
    wire = b': hello\nid: 1\ndata: {"kind": "a",\ndata: "message": "b"}\n\n'
    wire += b'event: status\ndata: {"deployment": "shop"}\n\n\n'
    got = [item for line in wire.split(b"\n") if (item := reader.feed(line))]
    assert got == [results.ProgressEvent(kind="a", message="b"), results.Deployment(deployment="shop")]


def test_an_error_event_is_raised() -> None:
    reader = ServerEvents()
    reader.feed(b"event: error")
    reader.feed(b"data: " + json.dumps(Failed("stopping").document()).encode())
    with pytest.raises(Failed, match="stopping"):
        reader.feed(b"\r")


def test_deleted_images_come_as_names() -> None:
    assert calls.remove_image("x").read({"deleted": ["x", "sha256:1"]}) == ("x", "sha256:1")
    assert calls.remove_image("x").read(None) == ()
