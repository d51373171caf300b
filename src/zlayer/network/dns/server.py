"""The name server itself: sockets per listening address, one zone in force.

UDP is read in bursts without a task per packet; what must be asked elsewhere gets a task. A zone is taken whole
between two packets. Whatever arrives, nothing here raises, grows without bound or answers with more than was asked for.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from zlayer.model.zone import View, Zone
from zlayer.network.dns import message
from zlayer.network.dns.answers import Answers
from zlayer.network.dns.clients import Clients
from zlayer.network.dns.forward import PATIENCE, Forwarder
from zlayer.network.dns.message import Question
from zlayer.network.dns.streams import MOST, Streams

BURST = 64
SHARE = 128
"""Questions of one address that wait for others' servers at a time."""
_DISCARD = 9
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


@dataclass(slots=True)
class Post:
    """One listening address: its sockets, who may ask, and the answers of the view it belongs to."""

    address: str
    answers: Answers
    clients: Clients
    udp: socket.socket
    tcp: socket.socket
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class NameServer:
    """`take` a zone, any number of times; `close` in the end. `port` is 53 but in tests."""

    def __init__(self, port: int = 53) -> None:
        self._port = port
        self._posts: dict[str, Post] = {}
        self._forwarder = Forwarder()
        self._streams = Streams()

    async def take(self, zone: Zone) -> dict[str, str]:
        """Every answer is by `zone` when this returns. Addresses that could not be bound, each with the reason."""
        wanted: dict[str, View] = {address: view for view in zone.views for address in view.listen}
        self._forwarder.upstreams = tuple(one for one in zone.upstreams if one not in wanted)  # not ourselves
        for address in self._posts.keys() - wanted.keys():
            self._leave(self._posts.pop(address))
        refused: dict[str, str] = {}
        made: dict[int, tuple[Answers, Clients]] = {}
        for address, view in wanted.items():
            if id(view) not in made:
                made[id(view)] = Answers(view, zone.domain, zone.ttl), Clients(view.clients)
            answers, clients = made[id(view)]
            if (post := self._posts.get(address)) is not None:
                post.answers, post.clients = answers, clients
                continue
            try:
                await self._open(address, answers, clients)
            except OSError as error:
                refused[address] = error.strerror or str(error)
        return refused

    async def close(self) -> None:
        """No new question is taken. Those that have arrived are answered, if others answer us in time."""
        for post in self._posts.values():
            asyncio.get_running_loop().remove_reader(post.udp.fileno())
            with suppress(OSError):
                # To a socket with a peer the kernel brings nothing more from anybody else: a successor on the same
                # address gets it. What is in its queue already stays ours.
                post.udp.connect((post.address, _DISCARD))
            while self._readable(post):
                pass
            if post.server is not None:
                post.server.close()
        waiting = [task for post in self._posts.values() for task in post.tasks]
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE)
        for post in self._posts.values():
            self._leave(post)
        self._posts.clear()

    async def _open(self, address: str, answers: Answers, clients: Clients) -> None:
        udp = _bound(address, self._port, socket.SOCK_DGRAM)
        try:
            tcp = _bound(address, self._port, socket.SOCK_STREAM)
        except OSError:
            udp.close()
            raise
        post = Post(address, answers, clients, udp, tcp)
        asyncio.get_running_loop().add_reader(udp.fileno(), self._readable, post)
        post.server = await asyncio.start_server(lambda r, w: self._stream(post, r, w), sock=tcp)
        self._posts[address] = post

    def _leave(self, post: Post) -> None:
        asyncio.get_running_loop().remove_reader(post.udp.fileno())
        post.udp.close()
        if post.server is not None:
            post.server.close()
        for task in post.tasks:
            task.cancel()

    def _readable(self, post: Post) -> bool:
        """Answer a burst; False when nothing is left."""
        receive, send, may = post.udp.recvfrom, post.udp.sendto, post.clients.may
        packed, turn = post.answers.packed, post.answers.turn
        for _ in range(BURST):
            try:
                data, sender = receive(4096)
            except OSError:  # nothing left; or the kernel tells of an asker that is gone
                return False
            turns = packed.get(data[2:])
            if turns is not None and may(sender[0]):
                reply: bytes | None = data[:2] + turns[next(turn) % len(turns)]
            else:
                reply = self._reply(post, data, sender)
            if reply is not None:
                with suppress(OSError):  # its buffer is full: it asks again
                    send(reply, sender)
        return True

    def _reply(self, post: Post, data: bytes, sender: tuple[str, int]) -> bytes | None:
        if not post.clients.may(sender[0]):
            return message.refusal(data)
        found = post.answers.known(data)
        if not isinstance(found, Question):
            return found
        if len(post.tasks) >= SHARE:
            return message.answer(found, message.SERVFAIL, [], own=False)
        task = asyncio.ensure_future(self._elsewhere(post, data, found, sender))
        post.tasks.add(task)
        task.add_done_callback(post.tasks.discard)
        return None

    async def _elsewhere(self, post: Post, data: bytes, asked: Question, sender: tuple[str, int]) -> None:
        reply = await self._forwarder.udp(data)
        if reply is None:
            reply = message.answer(asked, message.SERVFAIL, [], own=False)
        with suppress(OSError):
            post.udp.sendto(reply, sender)

    async def _stream(self, post: Post, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if peer is None or not post.clients.may(peer[0]):
            writer.close()
            return

        async def answer(data: bytes) -> bytes | None:
            found = post.answers.known(data, 65535)
            if not isinstance(found, Question):
                return found
            return await self._forwarder.tcp(data) or message.answer(found, message.SERVFAIL, [], own=False)

        await self._streams.serve(reader, writer, peer[0], answer)


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket of ours alone, also on an address that comes later, beside a successor's of the same port."""
    six = ":" in address
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(MOST)
    except OSError:
        made.close()
        raise
    return made
