"""TLS, HTTP/2, WebSocket and TCP through a real HAProxy."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from cryptography import x509

from zlayer.model.endpoint import Limits, Timeouts
from zlayer.model.errors import Invalid
from zlayer.model.routes import Backend, Certificate, Listener, Route, RouteTable, Server
from zlayer.model.units import Seconds
from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.testing.http2 import Http2
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


@pytest.fixture
def authority(tmp_path: Path) -> LocalAuthority:
    return LocalAuthority(tmp_path, "tests")


def certificate(authority: LocalAuthority, name: str) -> Certificate:
    pair = authority.sign([name])
    return Certificate(name, pair.chain, pair.key.reveal())


def shown(port: int, name: str) -> tuple[str, str]:
    """The name in the certificate a client is shown, and its serial number."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    with context.wrap_socket(plain, server_hostname=name or None) as secure:
        der = secure.getpeercert(binary_form=True)
    assert der is not None
    read = x509.load_der_x509_certificate(der)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)[0], str(read.serial_number)


async def seen(port: int, name: str) -> tuple[str, str]:
    return await anyio.to_thread.run_sync(shown, port, name)


async def test_certificates_by_name_come_change_and_go_without_a_reload(
    proxy: Proxied, authority: LocalAuthority
) -> None:
    _, server = await proxy.origin("one")
    backend = Backend("b", "http", (server,))
    first, second = certificate(authority, "a.test"), certificate(authority, "b.test")
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[first]))
    assert (await seen(proxy.port, "a.test"))[0] == "a.test"
    assert (await seen(proxy.port, "b.test"))[0] == "a.test"
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[first, second]))
    assert (await seen(proxy.port, "b.test"))[0] == "b.test"
    before = await seen(proxy.port, "a.test")
    renewed = certificate(authority, "a.test")
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[renewed, second]))
    after = await seen(proxy.port, "a.test")
    assert after[0] == "a.test"
    assert after != before
    assert (await seen(proxy.port, ""))[0] == "a.test"
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[renewed]))
    assert (await seen(proxy.port, "b.test"))[0] == "a.test"
    assert not (proxy.directory / "structure-2.json").exists()
    proxy.restart()
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[renewed, second]))
    assert (await seen(proxy.port, "b.test"))[0] == "b.test"


async def test_another_certificate_becomes_the_default_without_a_reload_or_a_gap(
    proxy: Proxied, authority: LocalAuthority
) -> None:
    _, server = await proxy.origin("one")
    backend = Backend("b", "http", (server,))
    a, b, c = (certificate(authority, name) for name in ("a.test", "b.test", "c.test"))
    await proxy.engine.apply(proxy.table(backend, mode="https", certificates=[b]))
    wrong: list[str] = []
    done = anyio.Event()

    async def watch() -> None:
        while not done.is_set():
            if (name := (await seen(proxy.port, "b.test"))[0]) != "b.test":
                wrong.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for _ in range(10):
            for given in ([a, b], [b, c], [c, b], [b]):
                await proxy.engine.apply(proxy.table(backend, mode="https", certificates=given))
                assert (await seen(proxy.port, ""))[0] == given[0].name
                assert {(await seen(proxy.port, one.name))[0] for one in given} == {one.name for one in given}
        done.set()
    assert wrong == []
    assert not (proxy.directory / "structure-2.json").exists()


async def test_a_certificate_that_is_no_good_is_told_and_hurts_no_other(
    proxy: Proxied, authority: LocalAuthority
) -> None:
    _, server = await proxy.origin("one")
    good, other = certificate(authority, "a.test"), certificate(authority, "b.test")
    bad = Certificate("bad.test", good.chain, other.key)
    table = proxy.table(Backend("b", "http", (server,)), mode="https", certificates=[bad, good])
    with pytest.raises(Invalid, match=r"bad\.test"):
        await proxy.engine.apply(table)
    assert (await seen(proxy.port, "x.test"))[0] == "a.test"
    with pytest.raises(Invalid):
        await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), mode="https", certificates=[bad]))
    with pytest.raises(ssl.SSLError):
        await seen(proxy.port, "a.test")


async def test_keys_are_nobody_elses(proxy: Proxied, authority: LocalAuthority) -> None:
    _, server = await proxy.origin("one")
    made = certificate(authority, "a.test")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), mode="https", certificates=[made]))
    assert proxy.directory.stat().st_mode & 0o777 == 0o700
    files = list(proxy.directory.glob("*.pem"))
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]


async def test_old_tls_is_refused(proxy: Proxied, authority: LocalAuthority) -> None:
    _, server = await proxy.origin("one")
    made = certificate(authority, "a.test")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), mode="https", certificates=[made]))
    for flag, refused in (("-tls1_1", True), ("-tls1_2", False), ("-tls1_3", False)):
        done = await anyio.run_process(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", flag, "-cipher", "DEFAULT@SECLEVEL=0"],
            input=b"", check=False,
        )  # fmt: skip
        assert (done.returncode != 0) is refused, flag


def curl(*arguments: str) -> str:
    argv = ["curl", "-sSk", "-m", "10", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_http2_with_and_without_tls(proxy: Proxied, authority: LocalAuthority) -> None:
    _, server = await proxy.origin("one")
    other = free_port()
    made = certificate(authority, "a.test")
    table = proxy.table(Backend("b", "http", (server,)), mode="https", certificates=[made])
    plain = Listener("plain", ("127.0.0.1",), other, "http", (Route("b"),))
    await proxy.engine.apply(RouteTable(1, (*table.listeners, plain), table.backends, table.certificates))
    for url, flag in ((f"https://127.0.0.1:{proxy.port}/", "--http2"),
                      (f"http://127.0.0.1:{other}/", "--http2-prior-knowledge")):  # fmt: skip
        said = await anyio.to_thread.run_sync(curl, flag, "-w", "%{http_version}", url)
        assert said.startswith("one /")
        assert said.endswith("2")
    answer = await anyio.to_thread.run_sync(curl, f"https://127.0.0.1:{proxy.port}/")
    assert "x-forwarded-proto: https" in answer


async def test_a_websocket_outlives_swaps_and_reloads(proxy: Proxied) -> None:
    _, one = await proxy.origin("one")
    _, two = await proxy.origin("two")
    times = Timeouts(response=Seconds(0.5))
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,)), routes=[Route("b", timeouts=times)]))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(3) == b"one"
    await proxy.engine.apply(proxy.table(Backend("b", "http", (two,)), routes=[Route("b", timeouts=times)]))
    for count in range(3):
        longer = Timeouts(head=Seconds(20 + count), response=Seconds(0.5))
        await proxy.engine.apply(proxy.table(Backend("b", "http", (two,)), routes=[Route("b", timeouts=longer)]))
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
    assert (await proxy.engine.in_flight(["one"])) == {"one": 1}
    await anyio.sleep(0.6)  # longer than an answer may take: a tunnel is no answer
    writer.write(b"pong")
    assert await reader.readexactly(4) == b"pong"
    writer.close()


async def test_a_websocket_over_http2(proxy: Proxied) -> None:
    """RFC 8441: an extended CONNECT is a WebSocket, and becomes an upgrade towards the replica."""
    _, one = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,))))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with contextlib.closing(writer):
        client = Http2(reader, writer)
        assert await client.open({":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/ws",
                                  ":authority": "x", "sec-websocket-version": "13"}) == 200  # fmt: skip
        assert await client.read(3) == b"one"
        client.write(b"ping")
        assert await client.read(4) == b"ping"


@asynccontextmanager
async def raw_origin() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A TCP server that keeps the first bytes of each connection."""
    firsts: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        firsts.append(await reader.read(4096))
        writer.write(b"done")
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], firsts


async def test_the_proxy_protocol_tells_the_client(proxy: Proxied) -> None:
    async with raw_origin() as (port, firsts):
        server = Server("raw", "127.0.0.1", port)
        backend = Backend("b", "tcp", (server,), proxy_protocol=True)
        await proxy.engine.apply(proxy.table(backend, mode="tcp"))
        assert await proxy.say(b"hello") == b"done"
        assert firsts[0].startswith(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")
        assert firsts[0][16:20] == bytes([127, 0, 0, 1])


async def test_a_backend_is_spoken_to_in_http2(proxy: Proxied) -> None:
    async with raw_origin() as (port, firsts):
        backend = Backend("b", "http", (Server("grpc", "127.0.0.1", port),), http2=True)
        await proxy.engine.apply(proxy.table(backend))
        await proxy.get()
        assert firsts[0].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


async def test_tcp_streams(proxy: Proxied) -> None:
    one, first = await proxy.origin("one", tcp=True)
    _, second = await proxy.origin("two", tcp=True)
    await proxy.engine.apply(proxy.table(Backend("b", "tcp", (first,)), mode="tcp"))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await reader.readline() == b"one\n"  # the server speaks first
    await proxy.engine.apply(proxy.table(Backend("b", "tcp", (second,)), mode="tcp"))
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"
    assert await proxy.engine.in_flight(["one", "two"]) == {"one": 1, "two": 0}
    again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await again.readline() == b"two\n"
    other.close()
    writer.close()
    await proxy.engine.apply(proxy.table(Backend("b", "tcp"), mode="tcp"))
    assert await proxy.say(b"") == b""
    assert one.connections == 1


async def test_tcp_connections_above_the_rate_are_closed(proxy: Proxied) -> None:
    _, server = await proxy.origin("one", tcp=True)
    routes = [Route("b", limits=Limits(rate=1, burst=1))]
    await proxy.engine.apply(proxy.table(Backend("b", "tcp", (server,)), routes=routes, mode="tcp"))

    async def first() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            return await reader.readline()
        return b""

    said = [await first() for _ in range(5)]
    assert said[:2] == [b"one\n"] * 2
    assert said[-1] == b""


def tls_origin(authority: LocalAuthority, name: str, directory: Path) -> ssl.SSLContext:
    made = certificate(authority, name)
    path = directory / f"{name}.pem"
    path.write_text(made.chain + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_passthrough_goes_by_the_name_asked_for(
    proxy: Proxied, authority: LocalAuthority, tmp_path: Path
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        backends: list[Backend] = []
        for name in ("exact.test", "wild.test", "any.test"):
            context = tls_origin(authority, name, tmp_path)
            made = await stack.enter_async_context(await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context))
            backends.append(Backend(name, "tcp", (Server(name, "127.0.0.1", made.sockets[0].getsockname()[1]),)))
        routes = [Route("exact.test", "a.b.test"), Route("wild.test", "*.b.test"), Route("any.test")]
        await proxy.engine.apply(proxy.table(*backends, routes=routes, mode="passthrough"))
        for name, wanted in (("a.b.test", "exact.test"), ("A.B.TEST", "exact.test"), ("x.b.test", "wild.test"),
                             ("b.test", "any.test"), ("", "any.test")):  # fmt: skip
            assert (await seen(proxy.port, name))[0] == wanted, name
        assert await proxy.say(b"GET / HTTP/1.0\r\n\r\n") == b""
