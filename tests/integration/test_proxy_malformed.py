"""Malformed HTTP and request smuggling against a real HAProxy: it stands, and no replica ever sees a smuggled request.

The corpus follows the classes of RFC 9112 (2.2, 5, 6.3, 7.1, 11.2) and of known desync attacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.proxy.haproxy import files
from zlayer.proxy.haproxy.picture import wanted
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Structure, door_of, grown
from zlayer.testing.netns import short_directory
from zlayer.testing.origins import Origin
from zlayer.testing.proxied import Proxied, proxied

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]
INNER = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + INNER
POST = b"POST /outer HTTP/1.1\r\nHost: x\r\n"

REFUSED = {
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + INNER,
    "length list": POST + b"Content-Length: 0, 40\r\n\r\n" + INNER,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + INNER,
    "signed length": POST + b"Content-Length: +0\r\n\r\n" + INNER,
    "hex length": POST + b"Content-Length: 0x10\r\n\r\n" + INNER,
    "huge length": POST + b"Content-Length: 99999999999999999999\r\n\r\n" + INNER,
    "empty length": POST + b"Content-Length:\r\n\r\n" + INNER,
    "space before colon": POST + b"Content-Length : 35\r\n\r\n" + INNER,
    "space in name": POST + b"Transfer Encoding: chunked\r\n\r\n" + CHUNKED,
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + INNER,
    "huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n" + INNER,
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a control in the path": b"GET /\x07 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version that is": b"GET / HTTP/9.9.9\r\nHost: x\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
    "more headers than anyone sends": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 3_000 + b"\r\n",
    "a path without end": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: evil\r\n\r\n",
    "a host that is a path": b"GET / HTTP/1.1\r\nHost: x/smuggled\r\n\r\n",
    "another host in the target": b"GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\rHost: x\r\r",
    "binary": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "an HTTP/2 preface and noise": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
}
"""None of these may reach a replica as two requests, and none is answered with success."""

TAMED = {
    "NUL in a header": b"GET /outer HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    "CL.TE": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n" % len(CHUNKED) + CHUNKED,
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"GET /outer HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\n\r\n",
    "chunk extension": POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "trailers": POST + b"Transfer-Encoding: chunked\r\nTrailer: a\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n",
    "absolute form": b"GET http://x/outer HTTP/1.1\r\nHost: x\r\n\r\n",
    "capital host": b"GET /outer HTTP/1.1\r\nHOST: X\r\n\r\n",
    "a body with GET": b"GET /outer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "HTTP/1.0": b"GET /outer HTTP/1.0\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /outer#frag HTTP/1.1\r\nHost: x\r\n\r\n",
    "TE hidden by case": POST + b"tRANSFER-eNCODING: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "TE by another name": POST + b"Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
}
"""One request each, or a refusal; never two, and never /smuggled."""


@pytest.fixture
async def proxy() -> AsyncIterator[Proxied]:
    async with proxied() as made:
        yield made


async def say(proxy: Proxied, raw: bytes) -> bytes:
    """All that comes back within a moment of silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    answer = b""
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        writer.write(raw)
        with anyio.move_on_after(0.15):
            while piece := await reader.read(65536):
                answer += piece
    return answer


async def ready(proxy: Proxied) -> Origin:
    origin, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), routes=[Route("b", "x")]))
    return origin


async def test_what_is_malformed_is_refused_and_nothing_is_smuggled(proxy: Proxied) -> None:
    origin = await ready(proxy)
    for name, raw in REFUSED.items():
        before = len(origin.seen)
        answer = await say(proxy, raw)
        heads = origin.seen[before:]
        assert not any(b"smuggled" in head.split(b"\r\n")[0] for head in heads), name
        assert len(heads) <= 1, (name, heads)
        assert not answer.startswith(b"HTTP/1.1 200"), (name, answer[:80])
        assert (await proxy.get("x", "/alive"))[0] == 200, name


async def test_what_is_odd_reaches_a_replica_once_at_most(proxy: Proxied) -> None:
    origin = await ready(proxy)
    for name, raw in TAMED.items():
        before = len(origin.seen)
        answer = await say(proxy, raw)
        heads = origin.seen[before:]
        assert not any(b"smuggled" in head.split(b"\r\n")[0] for head in heads), name
        assert len(heads) == answer.count(b"HTTP/1.1 200 "), (name, heads, answer)
        assert len(heads) <= 1, (name, heads)
        for head in heads:
            assert head.startswith((b"GET /outer", b"POST /outer")), (name, head)
            assert head.lower().count(b"\r\nhost:") == 1, (name, head)
            lengths = head.lower().count(b"\r\ncontent-length:") + head.lower().count(b"\r\ntransfer-encoding:")
            assert lengths <= 1, (name, head)


async def test_a_pipeline_is_answered_in_order(proxy: Proxied) -> None:
    origin = await ready(proxy)
    raw = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5))
    answer = await say(proxy, raw)
    assert [head.split()[1] for head in origin.seen] == [b"/%d" % number for number in range(5)]
    assert answer.count(b"HTTP/1.1 200 ") == 5


async def test_noise_hurts_nobody(proxy: Proxied) -> None:
    """Mutations of a request: it may be refused or served, the proxy stands, and the worker is the same."""
    origin = await ready(proxy)
    worker = proxy.engine._workers[0].pid
    base = POST + b"Content-Length: 3\r\nX-A: b\r\n\r\nabc"

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(base)), st.binary(max_size=4), st.integers(0, 3)), max_size=4))
    def mutated(edits: list[tuple[int, bytes, int]]) -> None:
        raw = base
        for at, insert, cut in edits:
            raw = raw[:at] + insert + raw[at + cut :]
        mutations.append(raw)

    mutations: list[bytes] = []
    await anyio.to_thread.run_sync(mutated)
    limit = anyio.CapacityLimiter(20)

    async def one(raw: bytes) -> None:
        async with limit:
            await say(proxy, raw)

    async with anyio.create_task_group() as tasks:
        for raw in mutations:
            tasks.start_soon(one, raw)
    assert (await proxy.get("x", "/alive"))[0] == 200
    assert proxy.engine._workers[0].pid == worker
    assert not any(b"smuggled" in head for head in origin.seen)


WORDS = st.text(max_size=40)


@settings(max_examples=40, deadline=None, database=None)
@given(words=st.lists(WORDS, min_size=6, max_size=6), address=st.sampled_from(["10.0.0.1", "fd00::1"]))
@example(words=['a"', "'b", "c\nd", "\\", "#e", "%[src]"], address="10.0.0.1")
@example(words=["}", "${HOME}", "`id`", ";", "\r\n\r\nglobal\n", "\x00"], address="::1")
def test_no_word_breaks_the_configuration(words: list[str], address: str) -> None:
    """Whatever names, hosts, paths and tokens are, HAProxy's own parser finds a valid file that says what we meant."""
    name, host, path, listener, token, key = words
    backend = Backend(name, "http", (Server(key, address, 80),), sticky=True)
    routes = (Route(name, host or None, path, strip_path=True), Route(name, f"*.{host}", path))
    doors = Listener(listener, ("127.0.0.1",), 8080, "http", routes)
    table = RouteTable(1, (doors,), (backend,), {}, {token: key})
    structure, slots = grown(Structure(), table, (door_of(doors),), {})
    with short_directory() as directory:
        files.prepare(directory / "proxy")
        picture = wanted(table, structure, slots, {})
        files.write(directory / "proxy", picture, {}, Settings(cookie_key=key))
        argv = ["haproxy", "-C", str(directory / "proxy"), "-f", "haproxy.cfg", "-c", "-q"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        config = (directory / "proxy" / "haproxy.cfg").read_text()
        for file in Path(directory / "proxy").glob("*.map"):
            assert all(line.count(" ") == 1 for line in file.read_text().split("\n") if line), file.read_text()
    assert done.returncode == 0, done.stderr
    assert config.count("\n    server ") == 1 + 1  # the one replica, and the way to a successor
