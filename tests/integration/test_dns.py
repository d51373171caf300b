"""The name server as a process: killed, flooded, asked for others' names, upgraded; on addresses of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Conflict
from zlayer.model.zone import View, Zone
from zlayer.network.dns import forward, message, process
from zlayer.network.dns.process import DnsProcess
from zlayer.testing.contracts.dns import one_view
from zlayer.testing.name_bench import ProcessBench, ask

pytestmark = [pytest.mark.anyio, pytest.mark.root]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ProcessBench]:
    bench = ProcessBench(tmp_path / "dns")
    try:
        yield bench
    finally:
        await bench.server().destroy()


async def served(bench: ProcessBench) -> tuple[str, int]:
    await bench.server().apply(one_view(bench.listen[0], web=("10.64.0.2",)))
    return bench.listen[0], bench.port


def pid_of(bench: ProcessBench) -> int:
    server = bench.server()
    assert isinstance(server, DnsProcess)
    assert server._line is not None
    return server._line.pid


async def test_a_killed_server_comes_back_with_the_last_zone(bench: ProcessBench) -> None:
    here, _ = await served(bench)
    os.kill(pid_of(bench), signal.SIGKILL)
    answers = [await bench.lookup(here, "web.service.local")]
    with anyio.fail_after(20):
        while answers[-1] != ("10.64.0.2",):
            answers.append(await anyio.to_thread.run_sync(ask_later, here, bench.port))


def ask_later(here: str, port: int) -> tuple[str, ...] | None:
    time.sleep(0.05)
    return ask(here, port, "web.service.local")


async def test_it_has_no_rights_but_the_one_it_needs(bench: ProcessBench) -> None:
    await served(bench)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid_of(bench)}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["65534"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 10
    assert status["NoNewPrivs"] == "1"


async def test_an_address_that_is_taken_is_told_and_the_others_served(bench: ProcessBench) -> None:
    one, two = bench.listen
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind((two, bench.port))
        views = tuple(View(n, (at,), {"web.service.local": ("10.64.0.2",)}) for n, at in (("a", one), ("b", two)))
        with pytest.raises(Conflict, match=two) as caught:
            await bench.server().apply(Zone(views=views))
        assert [one.path for one in caught.value.problems] == ["b"]
        assert await bench.lookup(one, "web.service.local") == ("10.64.0.2",)
    await bench.server().apply(Zone(views=views))
    assert await bench.lookup(two, "web.service.local") == ("10.64.0.2",)


async def test_a_server_of_another_version_is_replaced_without_a_gap(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = await served(bench)
    before = pid_of(bench)
    monkeypatch.setattr(process, "__version__", "another")
    answered: list[object] = []
    stop = anyio.Event()

    async def go_on() -> None:
        while not stop.is_set():
            answered.append(await bench.lookup(here, "web.service.local"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        again = await bench.restart()
        await again.apply(one_view(here, web=("10.64.0.2",)))
        stop.set()
    assert pid_of(bench) != before
    assert set(answered) == {("10.64.0.2",)}


def by_tcp(here: str, port: int, packet: bytes) -> bytes:
    with socket.create_connection((here, port), timeout=5) as client:
        client.sendall(struct.pack(">H", len(packet)) + packet)
        size = struct.unpack(">H", client.recv(2))[0]
        data = b""
        while len(data) < size and (chunk := client.recv(size - len(data))):
            data += chunk
        return data


def query(name: str, kind: int = message.A) -> bytes:
    question = message.wire_name(name) + struct.pack(">HH", kind, message.IN)
    return struct.pack(">HHHHHH", 9, message.RD, 1, 0, 0, 0) + question


async def test_what_does_not_fit_a_packet_comes_by_tcp(bench: ProcessBench) -> None:
    here = bench.listen[0]
    many = tuple(f"10.64.{n // 200}.{n % 200 + 1}" for n in range(300))
    await bench.server().apply(one_view(here, web=many))
    short = await anyio.to_thread.run_sync(ask, here, bench.port, "web.service.local")
    assert short is not None
    assert 0 < len(short) < 300
    whole = await anyio.to_thread.run_sync(by_tcp, here, bench.port, query("web.service.local"))
    assert struct.unpack_from(">H", whole, 6)[0] == 300


async def test_packets_of_every_kind_of_nonsense_leave_it_standing(bench: ProcessBench) -> None:
    here, port = await served(bench)
    chance = random.Random(7)
    good = query("web.service.local")

    def fire() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            for _ in range(3000):
                packet = bytearray(good)
                for _ in range(chance.randint(1, 6)):
                    packet[chance.randrange(len(packet))] = chance.randrange(256)
                with suppress(OSError):
                    client.sendto(bytes(packet)[: chance.randint(0, len(packet))], (here, port))
        for _ in range(50):
            with suppress(OSError), socket.create_connection((here, port), timeout=2) as broken:
                broken.sendall(bytes(chance.randrange(256) for _ in range(chance.randint(1, 50))))

    before = pid_of(bench)
    await anyio.to_thread.run_sync(fire)
    assert await bench.lookup(here, "web.service.local") == ("10.64.0.2",)
    assert pid_of(bench) == before


async def test_a_crowd_of_connections_shuts_nobody_out_of_udp(bench: ProcessBench) -> None:
    here, port = await served(bench)
    crowd = [socket.create_connection((here, port), timeout=2) for _ in range(300)]
    try:
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.2",)
    finally:
        for one in crowd:
            one.close()


@contextmanager
def upstream() -> Iterator[tuple[str, list[bytes]]]:
    """A resolver on port 53 of a loopback address, which answers everything with 192.0.2.7."""
    chance = random.SystemRandom()
    address = f"127.{chance.randint(2, 250)}.{chance.randint(2, 250)}.53"
    asked: list[bytes] = []
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        server.settimeout(0.2)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    data, sender = server.recvfrom(2000)
                    asked.append(data)
                    found = message.read(data)
                    records = [message.address_record("192.0.2.7", 60)]
                    server.sendto(message.answer(found, message.NOERROR, records, own=False), sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address, asked
        finally:
            stop.set()
            thread.join()


async def test_other_names_are_asked_elsewhere_and_ours_never(bench: ProcessBench) -> None:
    here = bench.listen[0]
    with upstream() as (address, asked):
        view = View("shop", (here,), {"web.service.local": ("10.64.0.2",)})
        await bench.server().apply(Zone(upstreams=("127.255.255.1", address), views=(view,)))
        assert await bench.lookup(here, "example.test") == ("192.0.2.7",)
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.2",)
        assert await bench.lookup(here, "missing.service.local") is None
        assert len(asked) == 1


async def test_without_a_resolver_the_answer_is_a_failure_not_silence(bench: ProcessBench) -> None:
    here, port = await served(bench)
    reply = await anyio.to_thread.run_sync(by_tcp, here, port, query("example.test"))
    assert reply[3] & 0x0F == message.SERVFAIL


async def test_nobody_listens_anywhere_else(bench: ProcessBench) -> None:
    await served(bench)
    assert await bench.lookup("127.0.0.1", "web.service.local") is None


def test_an_answer_to_another_question_is_no_answer() -> None:
    asked = query("a.test")
    good = bytearray(message.answer(message.read(asked), message.NOERROR, []))
    assert forward._answers(bytes(good), asked[:2], asked)
    other = message.answer(message.read(query("b.test")), message.NOERROR, [])
    assert not forward._answers(other, asked[:2], asked)
    assert not forward._answers(bytes(good), b"zz", asked)
    assert not forward._answers(asked, asked[:2], asked)
