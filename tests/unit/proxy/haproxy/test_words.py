"""Words, routes and shapes of HAProxy's configuration: pure, and safe whatever users call their things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.endpoint import Limits, Timeouts
from zlayer.model.errors import Invalid
from zlayer.model.routes import Backend, Listener, Route, RouteTable
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy import names, probing, refusals, routing, settings, structure
from zlayer.proxy.haproxy.structure import Structure, assign, covers, door_of, grown


@given(st.text(max_size=300))
def test_no_word_can_leave_its_place(text: str) -> None:
    for made in (names.plain(text), names.token(text), names.path(text)):
        assert not set(made) & set(" \"'\\;#\n\r\t\0`")
    assert len(names.plain(text)) <= 120


@given(st.text(max_size=60), st.text(max_size=60))
def test_two_inputs_are_two_words(one: str, other: str) -> None:
    assert (names.plain(one) == names.plain(other)) == (one == other) or "" in (one, other)
    assert (names.token(one) == names.token(other)) == (one == other)


def table(*routes: Route, mode: str = "http", backends: int = 1) -> RouteTable:
    listener = Listener("public-80", ("*",), 80, mode, routes or (Route("a/b/c0"),))  # type: ignore[arg-type]
    return RouteTable(listeners=(listener,), backends=tuple(Backend(f"a/b/c{n}", "http") for n in range(backends)))


def test_a_route_is_one_key_of_host_and_path() -> None:
    made = routing.lines(
        table(Route("a/b/c0", "Shop.test", "/api"), Route("a/b/c0", "*.test")).listeners[0], {"a/b/c0": 3}
    )
    assert made == {"shop.test/api/": "be3|a/b/c0", "*.test/": "be3|a/b/c0"}
    assert routing.key(Route("x"), web=True) == "*/"
    assert routing.key(Route("x", "tls.test"), web=False) == "tls.test"


def test_what_is_unusual_of_a_route_stands_in_its_line() -> None:
    plain = routing.value(Route("x"), None)
    assert plain.startswith(f"{routing.NOWHERE}|")
    limited = Route(
        "x", path="/a/b", strip_path=True, limits=Limits(rate=10, burst=5, max_body=100), timeouts=Timeouts()
    )
    assert routing.value(limited, 1) == "be1|x|2|100|15|105||"


def test_a_slot_is_kept_and_new_ones_are_spare() -> None:
    first, slots = grown(Structure(), table(backends=3), (), {})
    assert len(set(slots.values())) == 3
    assert len(first.slots) >= 3 + structure.SPARE[structure.HTTP]
    more = assign(table(backends=5), first, slots)
    assert {name: more[name] for name in slots} == slots, "those in use stay where they are"
    assert None not in more.values(), "spare ones are taken without a reload"
    second, after = grown(first, table(backends=200), (), slots)
    assert {name: after[name] for name in slots} == slots
    assert second.generation == first.generation + 1


def test_only_what_needs_a_reload_asks_for_one() -> None:
    plain = door_of(table().listeners[0])
    assert covers(Structure(doors=(plain,)), [plain])
    patient = door_of(table(Route("a/b/c0", timeouts=Timeouts(head=Seconds(99)))).listeners[0])
    assert not covers(Structure(doors=(plain,)), [patient])
    wild = door_of(table(Route("a/b/c0", "*.example.org")).listeners[0])
    both = structure.united(wild, plain)
    assert covers(Structure(doors=(both,)), [plain]), "a rule too many does no harm"


def test_an_address_is_an_address() -> None:
    with pytest.raises(Invalid, match="no address"):
        door_of(Listener("x", ("localhost; evil",), 80, "http"))


def test_answers_have_a_line_for_people() -> None:
    assert set(refusals.ENGINE) <= set(refusals.TEXTS)
    assert refusals.answer(429, "hdr Retry-After 1").startswith("return status 429")
    assert "no healthy backend" in refusals.body(503)


@pytest.mark.parametrize(
    ("said", "ok"),
    [("HAProxy version 2.6.12-1+deb12u4 2026\nFeature list : +OPENSSL", True),
     ("HAProxy version 2.4.0 x\n+OPENSSL", False),
     ("HAProxy version 3.1.2 x\nFeature list : -OPENSSL", False), ("something else", False)],
)  # fmt: skip
def test_engines_that_will_do(said: str, ok: bool) -> None:
    found = probing.judge(said)
    assert found.ok is ok
    assert ok or found.fix


def test_a_node_does_other_work_too() -> None:
    assert settings.Settings().threads <= 4
