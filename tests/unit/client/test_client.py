from __future__ import annotations

import inspect
import socket

import pytest

from zlayer.client.async_client import AsyncClient
from zlayer.client.calls import LogQuery
from zlayer.client.client import Client
from zlayer.client.results import Deployment, Image, ProgressEvent, PullProgress
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.testing import api_samples
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, ndjson, problem_answer, server_events

API = "/api/v1"


@pytest.fixture
def client(address: Address) -> Client:
    return Client(address)


def test_lists_deployments_and_containers(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.routes[f"GET {API}/deployments"] = Answer([api_samples.deployment("shop")])
    daemon.routes[f"GET {API}/instances"] = Answer([api_samples.container()])
    assert [d.deployment for d in client.deployments()] == ["shop"]
    assert client.containers("shop")[0].ports == ("80/tcp",)
    assert daemon.requests[-1].target.endswith("?deployment=shop")


def test_deploys_on_the_revision_it_was_planned_on(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.routes[f"POST {API}/deployments:plan"] = Answer(api_samples.plan("create", revision=7))
    daemon.routes[f"POST {API}/deployments"] = Answer({"deployment": "shop", "revision": 8, "changed": True}, 202)
    plan = client.plan("text", file="a.yml")
    assert client.deploy("text", file="a.yml", revision=plan.revision).revision == 8
    assert daemon.requests[-1].body == {"spec": "text", "file": "a.yml", "revision": 7}


def test_wishes_are_sent_as_they_are_meant(daemon: ScriptedDaemon, client: Client) -> None:
    for route in (f"POST {API}/deployments/d/stop", f"POST {API}/deployments/d/start",
                  f"POST {API}/deployments/d/scale", f"DELETE {API}/deployments/d",
                  f"DELETE {API}/instances/i"):  # fmt: skip
        daemon.routes[route] = Answer({}, 202)
    client.stop("d", service="web", grace=3)
    client.start("d")
    client.scale("d", {"web": 4})
    client.remove("d")
    client.remove_container("i")
    assert [r.body for r in daemon.requests] == [
        {"service": "web", "grace": 3},
        {},
        {"services": {"web": 4}},
        None,
        None,
    ]


def test_follows_a_deployment(daemon: ScriptedDaemon, client: Client) -> None:
    events = [("status", api_samples.deployment()), ("", {"kind": "instance.ready", "service": "web"})]
    daemon.routes[f"GET {API}/deployments/shop/events"] = server_events(*events)
    following = client.follow("shop", patience=5)
    assert isinstance(next(following), Deployment)
    assert next(following) == ProgressEvent(kind="instance.ready", service="web")
    following.close()


def test_streams_logs_and_hangs_up_when_closed(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.routes[f"GET {API}/deployments/shop/logs"] = ndjson(api_samples.line("one"), held=True)
    lines = client.logs("shop", LogQuery(follow=True))
    assert next(lines).data == "one"
    lines.close()
    with pytest.raises(StopIteration):
        next(lines)


def test_pulls_to_the_image(daemon: ScriptedDaemon, client: Client) -> None:
    blob = {"digest": "sha256:1", "phase": "downloading", "done": 1, "total": 2}
    daemon.routes[f"POST {API}/images/pull"] = ndjson(blob, {"image": {"reference": "alpine"}})
    *progress, image = client.pull("alpine", policy="newer")
    assert progress == [PullProgress(digest="sha256:1", phase="downloading", done=1, total=2)]
    assert image == Image(reference="alpine")
    assert daemon.requests[0].body == {"reference": "alpine", "policy": "newer"}


def test_other_reads(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.routes |= {
        f"GET {API}/status": Answer({"version": "1", "instances": {"running": 1, "total": 2}}),
        f"GET {API}/runtimes": Answer([{"name": "oci", "ok": True}]),
        f"GET {API}/nodes": Answer([{"id": "n1"}]),
        f"GET {API}/images": Answer([{"reference": "a"}]),
        f"GET {API}/certificates": Answer([{"name": "a.org", "state": "valid"}]),
        f"GET {API}/certificates/%2A.a.org": Answer({"name": "*.a.org", "chain": "PEM"}),
        f"POST {API}/certificates/%2A.a.org/renew": Answer({"name": "*.a.org", "asked": True}, 202),
        f"GET {API}/images/a": Answer({"reference": "a", "config": {}}),
        f"DELETE {API}/images/a": Answer({"deleted": ["a"]}),
        f"GET {API}/events": ndjson({"kind": "image.pulled"}),
        f"POST {API}/validate": Answer({"valid": True, "errors": []}),
        f"GET {API}/deployments/shop/spec": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na:"),
        f"POST {API}/deployments/shop/services/web/exec": Answer({"exit_code": 3, "stdout": "x", "stderr": ""}),
        f"GET {API}/instances/i/logs": ndjson(api_samples.line("x")),
        f"POST {API}/run": ndjson({"event": "created", "id": "i"}, {"event": "exited", "code": 3}),
    }
    assert client.status().instances["total"] == 2
    assert client.runtimes()[0].name == "oci"
    assert client.nodes() == ({"id": "n1"},)
    assert [one.state for one in client.certificates()] == ["valid"]
    assert client.certificate("*.a.org").chain == "PEM"
    assert client.renew("*.a.org").asked
    assert [i.reference for i in client.images()] == ["a"]
    assert client.image("a")["config"] == {}
    assert client.remove_image("a") == ("a",)
    assert [e.kind for e in client.events(since="1h")] == ["image.pulled"]
    assert client.validate("x")["valid"]
    assert client.spec("shop") == "a:"
    assert client.exec("shop", "web", ["ls"], user="nobody").exit_code == 3
    assert [line.data for line in client.instance_logs("i")] == ["x"]
    assert [e.code for e in client.run({"image": "a"})] == [None, 3]


def test_errors_come_back_as_the_tree(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.routes[f"GET {API}/deployments/x"] = problem_answer(404, "not_found", "no deployment 'x'", hint="see ps")
    with pytest.raises(errors.NotFound, match="no deployment 'x'") as caught:
        client.deployment("x")
    assert caught.value.hint == "see ps"


def test_both_clients_have_the_same_methods() -> None:
    def methods(of: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(of, callable) if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_from_env_goes_by_the_data_directory(daemon: ScriptedDaemon) -> None:
    daemon.routes[f"GET {API}/deployments"] = Answer([])
    assert Client.from_env(str(daemon.data_dir)).deployments() == ()


def test_a_stream_that_never_begins_is_a_deadline() -> None:
    """A daemon without a descriptor left takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = Client(Address(host="127.0.0.1", port=silent.getsockname()[1]), timeout=0.2)
        with pytest.raises(errors.Deadline):
            list(client.events(follow=True))
