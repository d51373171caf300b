"""Messages as bytes: what is read is what was sent, what is broken is told apart, nothing hangs or raises otherwise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.network.dns import message
from zlayer.network.dns.message import Malformed
from zlayer.testing.dns_reader import parse

LABELS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20), min_size=1, max_size=8)


def query(name: str, kind: int = message.A, *, flags: int = message.RD, number: int = 7, edns: int = 0) -> bytes:
    extra = b"\0" + struct.pack(">HHIH", message.OPT, edns, 0, 0) if edns else b""
    head = struct.pack(">HHHHHH", number, flags, 1, 0, 0, 1 if edns else 0)
    return head + message.wire_name(name) + struct.pack(">HH", kind, message.IN) + extra


@given(LABELS, st.integers(0, 65535), st.sampled_from([message.A, message.AAAA, 16, 255]))
def test_a_question_comes_back(labels: list[str], number: int, kind: int) -> None:
    name = ".".join(labels)
    asked = message.read(query(name, kind, number=number))
    assert (message.dotted(asked.name), asked.id, asked.kind, asked.room) == (name, number, kind, 512)


def test_case_is_kept_for_the_answer_and_ignored_for_the_look() -> None:
    asked = message.read(query("web.service.local").replace(b"web", b"wEb"))
    assert message.dotted(asked.name) == "web.service.local"
    assert b"wEb" in message.answer(asked, message.NOERROR, [])


@pytest.mark.parametrize(("told", "room"), [(100, 512), (800, 800), (4096, 1232)])
def test_the_askers_room_is_believed_within_bounds(told: int, room: int) -> None:
    asked = message.read(query("a.b", edns=told))
    assert (asked.room, asked.edns) == (room, True)


def test_edns_of_another_version_is_refused_with_ours() -> None:
    asked = message.read(query("a.b", edns=1232)[:-5] + b"\1" + b"\0" * 4)
    assert asked.version == 1
    reply = parse(message.bad_version(asked))
    assert (reply.code, reply.additional[0].ttl >> 24, reply.additional[0].ttl >> 16 & 255) == (0, 1, 0)


def test_who_has_no_business_gets_a_header() -> None:
    assert message.refusal(query("a.b")) == query("a.b")[:2] + b"\x81\x85" + b"\0" * 8
    assert message.refusal(query("a.b")[:11]) is None
    assert message.refusal(query("a.b", flags=0x8000)) is None


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_malformed(data: bytes) -> None:
    try:
        asked = message.read(data)
    except Malformed as bad:
        if bad.header is not None:
            message.failure(bad.header, message.FORMERR)
        return
    assert message.answer(asked, message.REFUSED, [])[:2] == data[:2]


@given(st.data())
def test_a_packet_with_a_flipped_byte_does_no_harm(data: st.DataObject) -> None:
    packet = bytearray(query("web.service.local", edns=1232))
    packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    try:
        message.read(bytes(packet))
    except Malformed:
        return


@pytest.mark.parametrize(
    "broken", [b"", b"\0" * 11, query("a.b")[:-1], query("a.b", flags=0x8000), query("a.b")[:12] + b"\xc0\x0c\0\1\0\1"]
)
def test_what_is_no_question(broken: bytes) -> None:
    with pytest.raises(Malformed):
        message.read(broken)


@given(st.integers(1, 200), st.sampled_from([512, 1232, 65535]))
def test_an_answer_fits_or_says_that_it_does_not(count: int, room: int) -> None:
    asked = message.read(query("web.service.local", edns=1232))
    records = [message.address_record(f"10.64.{n // 250}.{n % 250 + 1}", 5) for n in range(count)]
    made, cut = message.fit(asked, records, room)
    assert len(made) <= room
    told = struct.unpack_from(">H", made, 6)[0]
    assert (told < count) == cut == bool(struct.unpack_from(">H", made, 2)[0] & message.TC)


@pytest.mark.parametrize("bad", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5), "ä.b"])
def test_names_that_cannot_be(bad: str) -> None:
    with pytest.raises(ValueError, match=r"not a DNS name|ascii"):
        message.wire_name(bad)
