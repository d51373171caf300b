from __future__ import annotations

import select
import socket
import threading

import pytest
from websockets.frames import Opcode

from zlayer.client import frames, websocket
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.testing.scripted_daemon import ScriptedDaemon, Socket


def test_speaks_both_ways_and_closes(daemon: ScriptedDaemon, address: Address) -> None:
    def echo(channel: Socket) -> None:
        for kind, data in channel.receive():
            if kind is Opcode.BINARY:
                channel.send(data)
            elif kind is Opcode.TEXT:
                channel.send(data.decode())
                channel.close("enough")

    daemon.sockets["/ws"] = echo
    with websocket.connect(address, "/ws") as channel:
        channel.send(b"\x00bytes")
        channel.send("text")
        got = [(m.kind, m.data) for m in channel.messages()]
        assert got == [(frames.BINARY, b"\x00bytes"), (frames.TEXT, b"text")]
        assert channel.closed
        assert channel.close_reason == "enough"


def test_answers_pings_and_joins_fragments(daemon: ScriptedDaemon, address: Address) -> None:
    seen: list[Opcode] = []

    def script(channel: Socket) -> None:
        channel.ping()
        seen.append(channel.next()[0])
        channel.send("on", final=False)
        channel.continued(b"ce", final=True)
        channel.close()

    daemon.sockets["/ws"] = script
    with websocket.connect(address, "/ws") as channel:
        assert [m.text for m in channel.messages()] == ["once"]
    assert seen == [Opcode.PONG]


def test_the_last_word_is_heard_by_who_was_still_talking() -> None:
    ours, theirs = socket.socketpair()
    with websocket.WebSocket(ours, Address(path="/s")) as channel:
        theirs.sendall(b"\x81\x0f" + b'{"exit_code":0}' + b"\x88\x02\x03\xe8")
        theirs.close()
        channel.send(b"\x00stdin nobody reads")
        assert not channel.unsent
        assert [message.text for message in channel.messages()] == ['{"exit_code":0}']


def test_a_refusal_is_the_daemons_error(address: Address) -> None:
    with pytest.raises(errors.NotFound, match="nothing at GET /ws"):
        websocket.connect(address, "/ws")


def test_hanging_up_without_a_close_is_unavailable(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.sockets["/ws"] = lambda channel: None
    with websocket.connect(address, "/ws") as channel, pytest.raises(errors.Unavailable, match="hung up"):
        list(channel.messages())


def test_unblocked_it_keeps_what_does_not_fit_until_the_other_side_reads(
    daemon: ScriptedDaemon, address: Address
) -> None:
    data = bytes(4 * 1024 * 1024)

    reading = threading.Event()

    def script(channel: Socket) -> None:
        reading.wait(10)
        messages = channel.receive()
        _, got = next(messages)
        assert next(messages)[1] == b"go"
        channel.send({"size": len(got)})
        channel.close()

    daemon.sockets["/ws"] = script
    with websocket.connect(address, "/ws") as channel:
        channel.unblock()
        channel.send(data)
        assert channel.unsent
        channel.send("go")
        reading.set()
        poll = select.poll()
        got = []
        while not channel.closed:
            poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if channel.unsent else 0))
            (_, events), *_ = poll.poll(5000)
            if events & select.POLLOUT:
                channel.flush()
            if events & select.POLLIN:
                got += channel.pump()
    assert [m.text for m in got] == [f'{{"size": {len(data)}}}']


def test_the_accept_key_of_the_rfc() -> None:
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
