"""What HTTP clients and replicas see of each other through a real HAProxy."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator

import anyio
import pytest

from zlayer.model.endpoint import Limits, Timeouts
from zlayer.model.routes import Backend, Route, Server
from zlayer.model.units import Bytes, Seconds
from zlayer.proxy.haproxy.settings import Settings
from zlayer.testing.origins import free_port
from zlayer.testing.proxied import Proxied, proxied

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxied]:
    async with proxied() as made:
        yield made


def headers(body: str) -> dict[str, list[str]]:
    """The request's headers as the origin got them."""
    found: dict[str, list[str]] = {}
    for line in body.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name:
            found.setdefault(name.lower(), []).append(value)
    return found


async def test_a_client_cannot_claim_another_address(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    claims = ("X-Forwarded-For: 1.2.3.4", "x-forwarded-for: 5.6.7.8", "X-Forwarded-Proto: https", "X-Real-IP: 9.9.9.9",
              "Forwarded: for=1.2.3.4", "X_Forwarded_For: 1.1.1.1", "Proxy: evil")  # fmt: skip
    status, body = await proxy.get("shop.test:81", "/a?b=c", *claims)
    seen = headers(body)
    assert status == 200
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-host"] == ["shop.test:81"]
    assert seen["x-forwarded-port"] == [str(proxy.port)]
    assert seen["x-real-ip"] == ["127.0.0.1"]
    assert not {"forwarded", "x_forwarded_for", "proxy"} & set(seen)
    assert body.startswith("one /a?b=c\n")


async def test_a_trusted_proxy_is_believed() -> None:
    async with proxied(Settings(trusted=("127.0.0.0/8",))) as proxy:
        _, server = await proxy.origin("one")
        await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
        _, body = await proxy.get("x", "/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https")
        seen = headers(body)
        assert seen["x-forwarded-for"] == ["1.2.3.4, 127.0.0.1"]
        assert seen["x-forwarded-proto"] == ["https"]
        _, body = await proxy.get("x")
        assert headers(body)["x-forwarded-for"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/api", "/"), ("/api/", "/"), ("/api/x/y?q=/api/1", "/x/y?q=/api/1"), ("/api//x", "//x"), ("/api/%2e", "/%2e")],
)
async def test_a_prefix_is_stripped(proxy: Proxied, path: str, wanted: str) -> None:
    _, server = await proxy.origin("one")
    table = proxy.table(Backend("b", "http", (server,)), routes=[Route("b", None, "/api", strip_path=True)])
    await proxy.engine.apply(table)
    assert (await proxy.get("x", path))[1].split("\n")[0] == f"one {wanted}"
    assert (await proxy.get("x", "/apix"))[0] == 404


async def test_refusals_say_why_in_one_line(proxy: Proxied) -> None:
    dead = Server("dead", "127.0.0.1", free_port())
    table = proxy.table(
        Backend("none", "http"), Backend("dead", "http", (dead,)), routes=[Route("none", "n"), Route("dead", "d")]
    )
    await proxy.engine.apply(table)
    assert await proxy.get("n") == (503, "no healthy backend\n")
    assert (await proxy.get("d"))[0] == 503
    assert await proxy.get("x") == (404, "no route for this host and path\n")
    assert (await proxy.say(b"CONNECT n:80 HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")).split()[1] == b"405"


async def test_a_dead_server_costs_no_request(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    dead = Server("dead", "127.0.0.1", free_port())
    await proxy.engine.apply(proxy.table(Backend("b", "http", (dead, server))))
    assert {(await proxy.get())[0] for _ in range(10)} == {200}
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert {(await proxy.say(post)).split()[1] for _ in range(10)} == {b"200"}


async def test_what_is_no_answer_is_a_bad_gateway(proxy: Proxied) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as rude:
        server = Server("rude", "127.0.0.1", rude.sockets[0].getsockname()[1])
        await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
        assert await proxy.get() == (502, "the service gave no valid answer\n")
        assert (await proxy.engine.stats())["b"].errors == 1


async def test_a_slow_answer_is_given_up(proxy: Proxied) -> None:
    origin, server = await proxy.origin("one")
    origin.held["/slow"] = anyio.Event()
    times = Timeouts(response=Seconds(0.2))
    backend = Backend("b", "http", (server,), timeouts=times)
    await proxy.engine.apply(proxy.table(backend, routes=[Route("b", timeouts=times)]))
    assert await proxy.get("x", "/slow") == (504, "the service took too long to answer\n")
    assert (await proxy.get("x", "/quick"))[0] == 200


async def test_a_head_that_drips_is_given_up(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    times = Timeouts(head=Seconds(0.3))
    table = proxy.table(Backend("b", "http", (server,)), routes=[Route("b", timeouts=times)])
    await proxy.engine.apply(table)
    assert (await proxy.say(b"GET / HTTP/1.1\r\nHost: x\r\n")).split()[1] == b"408"


async def test_a_body_that_stops_is_given_up(proxy: Proxied) -> None:
    origin, server = await proxy.origin("one")
    times = Timeouts(body=Seconds(0.3))
    table = proxy.table(Backend("b", "http", (server,)), routes=[Route("b", timeouts=times)])
    await proxy.engine.apply(table)
    answer = await proxy.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    assert answer.split()[1] == b"408"
    assert origin.seen == []
    answer = await proxy.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
    assert answer.split()[1] == b"200"


async def test_an_upload_that_stops_is_given_up(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    times = Timeouts(body=Seconds(0.3), response=Seconds(0.3))
    table = proxy.table(Backend("b", "http", (server,)), routes=[Route("b", timeouts=times)])
    await proxy.engine.apply(table)
    answer = await proxy.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
    assert answer.split()[1] in {b"504", b"400"}  # 2.6 heeds `response`, 2.8 `body`


async def test_bodies_above_the_limit_are_refused(proxy: Proxied) -> None:
    origin, server = await proxy.origin("one")
    limits = Limits(max_body=Bytes(100_000))
    table = proxy.table(
        Backend("b", "http", (server,)), routes=[Route("b", "small", limits=limits), Route("b", "large")]
    )
    await proxy.engine.apply(table)

    async def post(host: str, size: int) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        return (await proxy.say(head.encode() + b"x" * size)).split()[1]

    assert await post("small", 100_000) == b"200"
    assert await post("small", 100_001) == b"413"
    assert await post("large", 200_000) == b"200"
    chunked = (
        b"POST / HTTP/1.1\r\nHost: small\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n"
    )
    assert (await proxy.say(chunked)).split()[1] == b"411"
    assert [len(body) for body in origin.bodies] == [100_000, 200_000]


async def test_a_client_above_its_rate_is_told_to_wait(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    routes = [Route("b", "slow", limits=Limits(rate=2, burst=1)), Route("b", "free")]
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), routes=routes))
    statuses = [(await proxy.get("slow"))[0] for _ in range(6)]
    assert statuses[:3] == [200] * 3
    assert statuses[-1] == 429
    refused = await proxy.say(b"GET / HTTP/1.1\r\nHost: slow\r\nConnection: close\r\n\r\n")
    assert b"\r\nretry-after: 1\r\n" in refused.lower()
    assert {(await proxy.get("free"))[0] for _ in range(6)} == {200}


async def test_what_a_server_cannot_take_waits(proxy: Proxied) -> None:
    origin, server = await proxy.origin("one")
    release = origin.held["/slow"] = anyio.Event()
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,), max_connections=1)))
    statuses: list[int] = []

    async def ask(path: str) -> None:
        statuses.append((await proxy.get("x", path))[0])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "/slow")
        while not origin.seen:  # noqa: ASYNC110  # another process acts
            await anyio.sleep(0.005)
        tasks.start_soon(ask, "/waits")
        while (await proxy.engine.stats())["b"].queued < 1:  # noqa: ASYNC110  # another process acts
            await anyio.sleep(0.005)
        assert len(origin.seen) == 1
        release.set()
    assert statuses == [200, 200]


async def test_a_sticky_client_comes_back_until_its_server_leaves(proxy: Proxied) -> None:
    servers = [(await proxy.origin(name))[1] for name in ("one", "two", "three")]
    await proxy.engine.apply(proxy.table(Backend("b", "http", (), sticky=True)))
    await proxy.engine.apply(proxy.table(Backend("b", "http", tuple(servers), sticky=True)))
    answer = (await proxy.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).decode()
    cookie = next(line for line in answer.split("\r\n") if line.lower().startswith("set-cookie: "))
    value = cookie.partition(": ")[2].partition(";")[0]
    assert value.startswith("zlayer=")
    assert "HttpOnly" in cookie
    first = (await proxy.get("x", "/", f"Cookie: {value}"))[1].split()[0]
    assert {(await proxy.get("x", "/", f"Cookie: {value}"))[1].split()[0] for _ in range(9)} == {first}
    left = tuple(server for server in servers if server.id != first)
    await proxy.engine.apply(proxy.table(Backend("b", "http", left, sticky=True)))
    assert (await proxy.get("x", "/", f"Cookie: {value}"))[1].split()[0] != first


async def test_least_connections_goes_where_it_is_quiet(proxy: Proxied) -> None:
    one, first = await proxy.origin("one")
    two, second = await proxy.origin("two")
    release = anyio.Event()
    one.held["/slow"] = two.held["/slow"] = release
    await proxy.engine.apply(proxy.table(Backend("b", "http", (first, second), balance="least_connections")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(proxy.get, "x", "/slow")
        while not one.seen + two.seen:  # noqa: ASYNC110  # another process acts
            await anyio.sleep(0.005)
        quiet = "two" if one.seen else "one"
        assert {(await proxy.get())[1].split()[0] for _ in range(6)} == {quiet}
        release.set()


async def test_the_access_log_has_a_line_of_json_per_request(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("shop/web/http", "http", (server,))))
    await proxy.get("h!ost", "/a\"b\\c'?secret=1")
    await proxy.get("x", "/plain")
    log = proxy.directory / "access.log"
    while log.read_text().count("\n") < 2:  # noqa: ASYNC110  # a line is written after its answer
        await anyio.sleep(0.005)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/a\"b\\c'", "/plain"]
    assert lines[1] | {"at": 0, "ms": 0, "bytes": 0} == {
        "listener": "web", "at": 0, "client": "127.0.0.1", "host": "x", "backend": "shop/web/http", "server": "one",
        "bytes": 0, "method": "GET", "path": "/plain", "status": 200, "ms": 0, "version": "HTTP/1.1", "end": "--",
    }  # fmt: skip
    assert "secret" not in (proxy.directory / "access.log").read_text()


async def test_requests_on_old_connections_go_by_the_new_table(proxy: Proxied) -> None:
    """A reload keeps idle connections open: what comes on them then must not reach a server that left."""
    _, one = await proxy.origin("one")
    _, two = await proxy.origin("two")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,))))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

    async def ask() -> str:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split()[1]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
        return (await reader.readexactly(size)).decode()

    assert (await ask()).startswith("one /")
    times = Timeouts(head=Seconds(9))  # a frontend's, so it takes a reload
    await proxy.engine.apply(proxy.table(Backend("b", "http", (two,)), routes=[Route("b", timeouts=times)]))
    assert (proxy.directory / "structure-2.json").exists()
    body = await ask()
    writer.close()
    assert body.startswith("two /")
    assert headers(body)["x-forwarded-for"] == ["127.0.0.1"]
