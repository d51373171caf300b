"""Whatever bytes come: a reply that is one, to whom asked, no longer than allowed; or none. Never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.model.zone import View
from zlayer.network.dns.answers import Answers
from zlayer.network.dns.message import Question
from zlayer.testing.dns_hostile import crafted, header, mutants, opt, question
from zlayer.testing.dns_reader import parse, question_of

MANY = tuple(f"10.64.{n // 200}.{n % 200 + 1}" for n in range(300))
VIEW = View(
    "shop",
    (),
    {
        "web.service.local": ("10.64.0.2", "fd00::2", "10.64.0.3"),
        "1.web.service.local": ("10.64.0.2",),
        "many.service.local": MANY,
        "idle.service.local": (),
    },
)
ANSWERS = Answers(VIEW, "service.local", 5)

NAMES = st.sampled_from(
    ["web.service.local", "many.service.local", "idle.service.local", "WEB.service.local", "x.test"]
)
COUNT = st.sampled_from([0, 1, 2, 3, 255, 65535])
NUMBER = st.integers(0, 65535)


def check(data: bytes, answers: Answers = ANSWERS) -> None:
    for room in (None, 65535):
        found = answers.known(data, room)
        if isinstance(found, Question):
            assert not answers.ours(found.name)
            assert data[2] & 0xF8 == 0
        elif found is None:
            assert len(data) < 12 or data[2] & 0x80
        else:
            reply = parse(found)
            assert found[:2] == data[:2]
            assert found[2] & 0x80
            assert len(found) <= (65535 if room else 1232)
            if reply.code == 1:
                assert len(found) == 12, "a complaint is no longer than what it is about"
            else:
                assert question_of(found) == question_of(data)


@pytest.mark.parametrize("number", range(len(crafted())))
def test_crafted_packets(number: int) -> None:
    check(crafted()[number])


@pytest.mark.parametrize("seed", range(20))
def test_mutants(seed: int) -> None:
    for packet in mutants(seed, 500):
        check(packet)


@given(st.binary(max_size=1500))
@settings(max_examples=300)
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(NUMBER, NUMBER, st.tuples(COUNT, COUNT, COUNT, COUNT), NAMES, NUMBER, NUMBER, st.binary(max_size=40))
@settings(max_examples=500)
def test_any_header_over_a_good_name(  # noqa: PLR0917 - each is a field of the packet
    number: int, flags: int, counts: tuple[int, int, int, int], name: str, kind: int, klass: int, rest: bytes
) -> None:
    check(header(number, flags, *counts) + question(name, kind, klass) + rest)


@given(NAMES, st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=60), st.none() | NUMBER)
@settings(max_examples=300)
def test_any_edns(name: str, room: int, version: int, data: bytes, size: int | None) -> None:
    check(header(7, 0x0100, 1, 0, 0, 1) + question(name) + opt(room=room, version=version, data=data, size=size))


def test_what_was_asked_before_changes_no_answer() -> None:
    """Packed replies are the same as those made anew, but for whose turn it is."""
    used = Answers(VIEW, "service.local", 5)
    for packet in mutants(1, 2000):
        used.known(packet)
    for name in VIEW.names:
        for kind in (1, 28, 16, 255):
            packet = header() + question(name, kind)
            for _ in range(3):
                a, b = used.known(packet), Answers(VIEW, "service.local", 5).known(packet)
                assert isinstance(a, bytes)
                assert isinstance(b, bytes)
                one, other = parse(a), parse(b)
                assert (one.flags, len(one.answers)) == (other.flags, len(other.answers))
    for asked, turns in used.packed.items():
        for turn in turns:
            assert parse(b"ab" + turn).questions == parse(b"ab" + asked).questions
            assert len(turn) <= 510


def test_who_asks_for_everything_fills_nothing() -> None:
    used = Answers(VIEW, "service.local", 5)
    for number in range(5000):
        used.known(header() + question(f"x{number}.service.local"))
        used.known(header() + question("web.service.local", number))
        used.known(header(number) + question("web.service.local"))
    assert len(used.packed) <= 2 * len(VIEW.names)
    assert len(used._known) <= 2 * len(VIEW.names)
