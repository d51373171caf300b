from __future__ import annotations

import pytest

from zlayer.client.async_client import AsyncClient
from zlayer.client.calls import LogQuery
from zlayer.client.results import Deployment, ProgressEvent
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.testing import api_samples
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, Socket, ndjson, problem_answer, server_events

pytestmark = pytest.mark.anyio
API = "/api/v1"


@pytest.fixture
def client(address: Address) -> AsyncClient:
    return AsyncClient(address, timeout=5)


async def test_reads_and_wishes(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    daemon.routes |= {
        f"GET {API}/deployments": Answer([api_samples.deployment("shop")]),
        f"GET {API}/deployments/shop": Answer(api_samples.deployment("shop")),
        f"GET {API}/deployments/shop/spec": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na:"),
        f"GET {API}/instances": Answer([api_samples.container()]),
        f"POST {API}/deployments:plan": Answer(api_samples.plan("create")),
        f"POST {API}/deployments": Answer({"deployment": "shop", "revision": 1, "changed": True}, 202),
        f"POST {API}/deployments/shop/stop": Answer({}, 202),
        f"POST {API}/deployments/shop/start": Answer({}, 202),
        f"POST {API}/deployments/shop/scale": Answer({}, 202),
        f"DELETE {API}/deployments/shop": Answer({}, 202),
        f"DELETE {API}/instances/i": Answer({}, 202),
        f"POST {API}/deployments/shop/services/web/exec": Answer({"exit_code": 3}),
    }
    assert [d.deployment for d in await client.deployments()] == ["shop"]
    assert (await client.deployment("shop")).revision == 3
    assert await client.spec("shop") == "a:"
    assert (await client.containers())[0].service == "web"
    assert (await client.plan("x")).changes[0].action == "create"
    assert (await client.deploy("x")).changed
    await client.stop("shop")
    await client.start("shop")
    await client.scale("shop", {"web": 1})
    await client.remove("shop")
    await client.remove_container("i")
    assert (await client.exec("shop", "web", ["ls"])).exit_code == 3


async def test_other_reads(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    daemon.routes |= {
        f"GET {API}/status": Answer({"version": "1"}),
        f"GET {API}/runtimes": Answer([{"name": "oci"}]),
        f"GET {API}/nodes": Answer([]),
        f"GET {API}/images": Answer([{"reference": "a"}]),
        f"GET {API}/images/a": Answer({"reference": "a"}),
        f"DELETE {API}/images/a": Answer({"deleted": []}),
        f"POST {API}/validate": Answer({"valid": True, "errors": []}),
    }
    assert (await client.status()).version == "1"
    assert (await client.runtimes())[0].ok
    assert await client.nodes() == ()
    assert len(await client.images()) == 1
    assert (await client.image("a"))["reference"] == "a"
    assert await client.remove_image("a") == ()
    assert (await client.validate("x"))["valid"]


async def test_streams(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    daemon.routes |= {
        f"GET {API}/deployments/shop/logs": ndjson(api_samples.line("one"), api_samples.line("two")),
        f"GET {API}/instances/i/logs": ndjson(api_samples.line("three")),
        f"GET {API}/events": ndjson({"kind": "a"}),
        f"POST {API}/run": ndjson({"event": "exited", "code": 0}),
        f"POST {API}/images/pull": ndjson({"image": {"reference": "a"}}),
    }
    assert [line.data async for line in client.logs("shop", LogQuery(lines=2))] == ["one", "two"]
    assert [line.data async for line in client.instance_logs("i")] == ["three"]
    assert [event.kind async for event in client.events()] == ["a"]
    assert [event.code async for event in client.run({"image": "a"})] == [0]
    assert len([item async for item in client.pull("a")]) == 1


async def test_follows_until_the_caller_leaves(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    events = [("status", api_samples.deployment()), ("", {"kind": "x"})]
    daemon.routes[f"GET {API}/deployments/shop/events"] = server_events(*events)
    seen: list[object] = []
    async for item in client.follow("shop"):
        seen.append(type(item))
        if len(seen) == 2:
            break
    assert seen == [Deployment, ProgressEvent]


async def test_errors_come_back_as_the_tree(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    daemon.routes[f"GET {API}/deployments/x"] = problem_answer(404, "not_found", "no deployment 'x'")
    with pytest.raises(errors.NotFound, match="no deployment 'x'"):
        await client.deployment("x")


async def test_a_silent_daemon_is_a_deadline(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes[f"GET {API}/status"] = Answer(raw=b"HTTP/1.1 200 OK\r\n", held=True)
    with pytest.raises(errors.Deadline):
        await AsyncClient(address, timeout=0.1).status()


async def test_no_daemon_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable):
        await AsyncClient(Address(path="/tmp/zl-nothing-here.sock")).status()


async def test_a_live_exec(daemon: ScriptedDaemon, client: AsyncClient) -> None:
    def script(channel: Socket) -> None:
        _, asked = channel.next()
        channel.ping()
        channel.send(b"\x01" + asked)
        channel.send({"exit_code": 4})
        channel.close()

    daemon.sockets[f"{API}/deployments/shop/services/web/exec"] = script
    daemon.sockets[f"{API}/run"] = script
    async with client.open_exec("shop", "web", {"command": ["ls"]}) as channel:
        got = [m.data async for m in channel.messages()]
    assert got == [b'\x01{"command": ["ls"]}', b'{"exit_code": 4}']
    async with client.open_run({"image": "a"}) as channel:
        assert len([m async for m in channel.messages()]) == 2


async def test_a_refused_exec_says_why(client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound):
        async with client.open_exec("shop", "web", {}):
            pass
