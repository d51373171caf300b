"""The real name server process under everything bad that can be sent to it, asked and asking: it keeps answering
right, the same process all the while, in the same memory, with nothing to complain of in its log."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from zlayer.model.zone import View, Zone
from zlayer.network.dns.process import DnsProcess
from zlayer.network.dns.streams import MOST
from zlayer.testing.dns_hostile import crafted, header, mutants, question
from zlayer.testing.dns_reader import parse
from zlayer.testing.name_bench import ProcessBench, ask, query

pytestmark = [pytest.mark.anyio, pytest.mark.root]
GROWTH = 24 << 20
"""Bytes of memory that a storm may leave behind: caches that are bounded, and arenas the allocator keeps."""
MANY = tuple(f"10.65.{n // 200}.{n % 200 + 1}" for n in range(300))


class Target:
    """The running server, and what must be true of it at the end."""

    def __init__(self, bench: ProcessBench, directory: Path) -> None:
        server = bench.server()
        assert isinstance(server, DnsProcess)
        assert server._line is not None
        self.here, self.port, self.pid = bench.listen[0], bench.port, server._line.pid
        self._log = directory / "log"
        self.memory = self.resident()

    def resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def fine(self) -> None:
        """Right answers, once asked as often as a client does: a full socket buffer loses packets of anybody's."""
        answers = (ask(self.here, self.port, "web.service.local", patience=0.5) for _ in range(10))
        assert next(found for found in answers if found is not None) == ("10.64.0.2",)
        assert parse(self.by_tcp(query("web.service.local"))).answers[0].data == bytes([10, 64, 0, 2])

    def check(self) -> None:
        self.fine()
        assert self.resident() < self.memory + GROWTH
        assert self._log.read_text() == ""

    def tcp(self) -> socket.socket:
        return socket.create_connection((self.here, self.port), timeout=5)

    def by_tcp(self, packet: bytes) -> bytes:
        with self.tcp() as client:
            client.sendall(struct.pack(">H", len(packet)) + packet)
            return received(client)


def received(client: socket.socket) -> bytes:
    """One message of a TCP connection; empty when it ended."""
    stream = client.makefile("rb")
    size = stream.read(2)
    return stream.read(struct.unpack(">H", size)[0]) if len(size) == 2 else b""


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    bench = ProcessBench(tmp_path / "dns")
    names = {"web.service.local": ("10.64.0.2",), "many.service.local": MANY}
    try:
        await bench.server().apply(Zone(views=(View("shop", bench.listen[:1], names),)))
        ask(bench.listen[0], bench.port, "web.service.local")
        yield Target(bench, tmp_path / "dns")
    finally:
        await bench.server().destroy()


async def attack(target: Target, work: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(work)
    await anyio.to_thread.run_sync(target.check)


@pytest.mark.parametrize("seed", range(4))
async def test_udp(target: Target, seed: int) -> None:
    def work() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            for number, packet in enumerate([*crafted(), *mutants(seed, 4000)]):
                with suppress(OSError):  # larger than a datagram
                    client.sendto(packet, (target.here, target.port))
                if number % 500 == 0:
                    target.fine()

    await attack(target, work)


@pytest.mark.parametrize("seed", range(2))
async def test_tcp(target: Target, seed: int) -> None:
    """Each on a connection of its own, told with its length, with another's, in pieces, and cut off."""
    chance = random.Random(seed)

    def work() -> None:
        for number, packet in enumerate([*crafted(), *mutants(seed, 300)]):
            told = chance.choice((len(packet), len(packet), len(packet), 0, 1, 65535, chance.randrange(65536)))
            data = struct.pack(">H", min(told, 65535)) + packet
            with suppress(OSError), target.tcp() as client:
                cut = chance.randrange(len(data) + 1)
                client.sendall(data[:cut])
                client.sendall(data[cut:])
                if chance.random() < 0.5:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            if number % 50 == 0:
                target.fine()

    await attack(target, work)


async def test_good_questions_among_bad_ones_are_answered_each(target: Target) -> None:
    """Over UDP no packet has any influence on the next one's answer."""

    def work() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client, socket.socket(type=socket.SOCK_DGRAM) as bad:
            client.settimeout(5)
            client.connect((target.here, target.port))
            for number, packet in enumerate(mutants(9, 300)):
                with suppress(OSError):
                    bad.sendto(packet, (target.here, target.port))
                client.send(query("web.service.local", number=number))
                reply = parse(client.recv(2000))
                assert (reply.id, [one.data for one in reply.answers]) == (number, [bytes([10, 64, 0, 2])])

    await attack(target, work)


async def test_half_open_and_silent_connections(target: Target) -> None:
    """More than may be, some with half a question: new ones get in all the same, and are answered at once."""

    def work() -> None:
        with ExitStack() as stack:
            for number in range(3 * MOST):
                client = stack.enter_context(target.tcp())
                client.sendall((b"", b"\0", b"\0\x30", b"\xff\xff" + b"x" * 100)[number % 4])
            for _ in range(3):
                target.fine()
            assert target.descriptors() < MOST + 40
        while target.descriptors() > 40:
            time.sleep(0.02)

    await attack(target, work)


async def test_many_questions_of_one_connection_none_of_whose_answers_is_read(target: Target) -> None:
    def work() -> None:
        data = query("many.service.local")
        with target.tcp() as client:
            client.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):
                for _ in range(20_000):
                    client.sendall(struct.pack(">H", len(data)) + data)
            target.fine()

    await attack(target, work)


async def test_a_slow_one_holds_up_nobody(target: Target) -> None:
    def work() -> None:
        data = query("web.service.local")
        with target.tcp() as slow:
            for byte in struct.pack(">H", len(data)) + data:
                slow.sendall(bytes([byte]))
                target.fine()
            assert parse(received(slow)).answers[0].data == bytes([10, 64, 0, 2])

    await attack(target, work)


async def test_a_flood_of_names_that_do_not_exist(target: Target) -> None:
    def work() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            for number in range(60_000):
                client.sendto(header(number % 65536) + question(f"x{number}.service.local"), (target.here, target.port))
        target.fine()

    await attack(target, work)


class Upstream:
    """A resolver on port 53 of a loopback address. `replies` says what it sends for each question, and from where."""

    def __init__(self, replies: Callable[[bytes], list[tuple[bytes, str]]]) -> None:
        chance = random.SystemRandom()
        self.address = f"127.{chance.randint(2, 250)}.{chance.randint(2, 250)}.53"
        self.other = self.address[:-2] + "54"
        self.asked = 0
        self._replies, self._stop = replies, threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with socket.socket(type=socket.SOCK_DGRAM) as own, socket.socket(type=socket.SOCK_DGRAM) as other:
            own.bind((self.address, 53))
            other.bind((self.other, 53))
            own.settimeout(0.2)
            thread = threading.Thread(target=self._serve, args=({"own": own, "other": other},))
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()

    def _serve(self, sockets: dict[str, socket.socket]) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                data, sender = sockets["own"].recvfrom(4096)
                self.asked += 1
                for reply, source in self._replies(data):
                    with suppress(OSError):
                        sockets[source].sendto(reply, sender)


def reply_to(data: bytes, address: str, *, number: bytes | None = None, flags: int = 0x8180) -> bytes:
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
    return (number or data[:2]) + struct.pack(">HHHHH", flags, 1, 1, 0, 0) + data[12:] + record


async def test_only_the_answer_to_what_was_asked_of_whom_it_was_asked_counts(tmp_path: Path) -> None:
    def replies(data: bytes) -> list[tuple[bytes, str]]:
        lie = "203.0.113.66"
        another = data[:12] + question("evil.test")
        return [
            (b"", "own"),
            (data[:2] + b"\x81", "own"),
            (reply_to(data, lie, number=bytes([data[0] ^ 1, data[1]])), "own"),
            (reply_to(data, lie), "other"),
            (reply_to(another, lie), "own"),
            (reply_to(data, lie, flags=0x0100), "own"),
            (reply_to(data, lie)[:20], "own"),
            (data[:2] + struct.pack(">HHHHH", 0x8180, 0, 1, 0, 0) + reply_to(data, lie)[-16:], "own"),
            (reply_to(data, "192.0.2.7"), "own"),
        ]

    bench, upstream = ProcessBench(tmp_path / "dns"), Upstream(replies)
    view = View("shop", bench.listen[:1], {"web.service.local": ("10.64.0.2",)})
    try:
        await bench.server().apply(Zone(upstreams=(upstream.address,), views=(view,)))
        with upstream.running():
            for name in ("example.test", "a.b.example.test"):
                assert await bench.lookup(bench.listen[0], name) == ("192.0.2.7",)
        await anyio.to_thread.run_sync(Target(bench, tmp_path / "dns").check)
    finally:
        await bench.server().destroy()


async def test_an_upstream_that_answers_nonsense_is_bounded_and_ours_goes_on(tmp_path: Path) -> None:
    """Hundreds wait for one that says all but the answer: names of ours are answered meanwhile, the rest in time."""
    garbage = [packet for packet in mutants(5, 200) if packet]

    def replies(data: bytes) -> list[tuple[bytes, str]]:
        return [(data[:2] + packet[2:], "own") for packet in garbage[:3]]

    bench, upstream = ProcessBench(tmp_path / "dns"), Upstream(replies)
    view = View("shop", bench.listen[:1], {"web.service.local": ("10.64.0.2",)})
    try:
        await bench.server().apply(Zone(upstreams=(upstream.address, "127.255.255.254"), views=(view,)))
        target = Target(bench, tmp_path / "dns")

        def flood() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(10)
                client.connect((target.here, target.port))
                for number in range(2000):
                    client.send(header(number) + question(f"x{number}.example.test"))
                target.fine()
                assert parse(client.recv(2000)).code == 2, "beyond what may wait it is a failure at once"
            assert target.descriptors() < 600

        with upstream.running():
            await anyio.to_thread.run_sync(flood)
            await anyio.to_thread.run_sync(target.check)
        assert 0 < upstream.asked <= 512
    finally:
        await bench.server().destroy()
