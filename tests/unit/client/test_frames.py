from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.client import frames
from zlayer.client.frames import Decoder, Message, ProtocolError


def server_frame(kind: int, data: bytes, *, final: bool = True) -> bytes:
    """An unmasked frame, as servers send them (RFC 6455, 5.2)."""
    head = bytes([(0x80 if final else 0) | kind])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 65536:
        return head + bytes([126]) + len(data).to_bytes(2, "big") + data
    return head + bytes([127]) + len(data).to_bytes(8, "big") + data


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 7))
def test_messages_survive_being_cut_anywhere(payloads: list[bytes], step: int) -> None:
    wire = b"".join(server_frame(frames.BINARY, data) for data in payloads)
    decoder = Decoder()
    got = [m for i in range(0, len(wire), step) for m in decoder.feed(wire[i : i + step])]
    assert [m.data for m in got] == payloads


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_every_length_form(size: int) -> None:
    data = bytes(size)
    assert Decoder().feed(server_frame(frames.TEXT, data)) == [Message(kind=frames.TEXT, data=data)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65536])
def test_what_we_send_is_masked_and_unmasks_to_the_same(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    wire = frames.encode(frames.BINARY, data)
    start = 2 if size < 126 else 4 if size < 65536 else 10
    assert wire[0] == 0x82
    assert wire[1] & 0x80
    assert frames.masked(wire[start + 4 :], wire[start : start + 4]) == data


def test_fragments_are_joined_and_control_frames_may_come_between() -> None:
    wire = (
        server_frame(frames.TEXT, b"hel", final=False)
        + server_frame(frames.PING, b"!")
        + server_frame(frames.CONTINUATION, b"lo")
    )
    got = Decoder().feed(wire)
    assert [(m.kind, m.text) for m in got] == [(frames.PING, "!"), (frames.TEXT, "hello")]


@pytest.mark.parametrize(
    "wire",
    [
        b"\xc1\x00",  # a reserved bit
        b"\x81\x80aaaa",  # masked by a server
        server_frame(frames.CONTINUATION, b"x"),
        server_frame(frames.TEXT, b"a", final=False) + server_frame(frames.TEXT, b"b"),
        server_frame(frames.PING, b"x" * 126),
        server_frame(frames.PING, b"x", final=False),
        b"\x82\x7f" + (frames.MAX_MESSAGE + 1).to_bytes(8, "big"),
    ],
)
def test_a_broken_protocol_is_an_error(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(wire)
