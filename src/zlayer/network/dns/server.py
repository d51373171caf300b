"""The name server itself: sockets per listening address, one zone in force, a control socket.

UDP is read in bursts without a task per packet; what must be asked elsewhere gets a task. TCP (RFC 7766) is bounded in
connections and in patience. A zone is taken whole between two packets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from zlayer.model.zone import View, Zone
from zlayer.network.dns import message
from zlayer.network.dns.answers import Answers
from zlayer.network.dns.forward import Forwarder

BURST = 64
CONNECTIONS = 128
"""TCP connections at a time, of all views."""
IDLE = 10.0
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


@dataclass(slots=True)
class Post:
    """One listening address: its sockets, and the answers of the view it belongs to."""

    address: str
    answers: Answers
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
        self._connections = 0

    async def take(self, zone: Zone) -> dict[str, str]:
        """Every answer is by `zone` when this returns. Addresses that could not be bound, each with the reason."""
        self._forwarder.upstreams = zone.upstreams
        wanted: dict[str, View] = {address: view for view in zone.views for address in view.listen}
        for address in self._posts.keys() - wanted.keys():
            self._leave(self._posts.pop(address))
        refused: dict[str, str] = {}
        made: dict[int, Answers] = {}
        for address, view in wanted.items():
            answers = made.setdefault(id(view), Answers(view, zone.domain, zone.ttl))
            if (post := self._posts.get(address)) is not None:
                post.answers = answers
                continue
            try:
                await self._open(address, answers)
            except OSError as error:
                refused[address] = error.strerror or str(error)
        return refused

    async def close(self) -> None:
        for post in self._posts.values():
            self._leave(post)
        self._posts.clear()

    async def _open(self, address: str, answers: Answers) -> None:
        udp = _bound(address, self._port, socket.SOCK_DGRAM)
        try:
            tcp = _bound(address, self._port, socket.SOCK_STREAM)
        except OSError:
            udp.close()
            raise
        post = Post(address, answers, udp, tcp)
        asyncio.get_running_loop().add_reader(udp.fileno(), self._readable, post)
        post.server = await asyncio.start_server(lambda r, w: self._serve(post, r, w), sock=tcp)
        self._posts[address] = post

    def _leave(self, post: Post) -> None:
        asyncio.get_running_loop().remove_reader(post.udp.fileno())
        post.udp.close()
        if post.server is not None:
            post.server.close()
        for task in post.tasks:
            task.cancel()

    def _readable(self, post: Post) -> None:
        receive, send = post.udp.recvfrom, post.udp.sendto
        for _ in range(BURST):
            try:
                data, sender = receive(4096)
            except OSError:  # nothing left; or the kernel tells of an asker that is gone
                return
            reply = self._reply(post, data, sender)
            if reply is not None:
                with suppress(OSError):  # its buffer is full: it asks again
                    send(reply, sender)

    def _reply(self, post: Post, data: bytes, sender: tuple[str, int]) -> bytes | None:
        try:
            asked = message.read(data)
        except message.Malformed as bad:
            return message.failure(bad.header, message.FORMERR) if bad.header else None
        if asked.flags & message.OPCODE:
            return message.answer(asked, message.NOTIMP, [], own=False)
        found = post.answers.reply(asked, asked.room)
        if found is not None:
            return found
        if asked.kind_class != message.IN:
            return message.answer(asked, message.REFUSED, [], own=False)
        task = asyncio.ensure_future(self._elsewhere(post, data, asked, sender))
        post.tasks.add(task)
        task.add_done_callback(post.tasks.discard)
        return None

    async def _elsewhere(self, post: Post, data: bytes, asked: message.Question, sender: tuple[str, int]) -> None:
        reply = await self._forwarder.udp(data)
        if reply is None:
            reply = message.answer(asked, message.SERVFAIL, [], own=False)
        with suppress(OSError):
            post.udp.sendto(reply, sender)

    async def _serve(self, post: Post, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP connection: questions one after another until it is idle, broken or too many."""
        if self._connections >= CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = struct.unpack(">H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(size)
                if (reply := await self._long(post, data)) is None:
                    return
                writer.write(struct.pack(">H", len(reply)) + reply)
                async with asyncio.timeout(IDLE):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._connections -= 1
            writer.close()

    async def _long(self, post: Post, data: bytes) -> bytes | None:
        try:
            asked = message.read(data)
        except message.Malformed as bad:
            return message.failure(bad.header, message.FORMERR) if bad.header else None
        if asked.flags & message.OPCODE:
            return message.answer(asked, message.NOTIMP, [], own=False)
        found = post.answers.reply(asked, 65535)
        if found is not None:
            return found
        return await self._forwarder.tcp(data) or message.answer(asked, message.SERVFAIL, [], own=False)


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
            made.listen(CONNECTIONS)
    except OSError:
        made.close()
        raise
    return made
