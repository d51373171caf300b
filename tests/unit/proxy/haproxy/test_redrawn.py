"""What was worked out of one table serves another exactly where they differ in servers alone."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from zlayer.model.routes import Backend, Certificate, Listener, Route, RouteTable, Server
from zlayer.proxy.haproxy.binds import Refusal
from zlayer.proxy.haproxy.certificates import Wallet
from zlayer.proxy.haproxy.difference import difference
from zlayer.proxy.haproxy.intent import Intent, intend
from zlayer.proxy.haproxy.picture import wanted
from zlayer.proxy.haproxy.redrawn import Drawn, redrawn
from zlayer.proxy.haproxy.structure import Structure, assign, grown
from zlayer.testing.origins import free_port

ONE, TWO = Server("i1", "10.0.0.1", 80), Server("i2", "10.0.0.2", 80)
TABLE = RouteTable(
    listeners=(
        Listener("public-80", ("127.0.0.1",), free_port(), "http", (Route("a/web/http"), Route("b", "b.test"))),
    ),
    backends=(Backend("a/web/http", "http", (ONE,)), Backend("b", "http", (TWO,))),
)


def with_servers(*servers: Server) -> RouteTable:
    return replace(TABLE, backends=(replace(TABLE.backends[0], servers=servers), TABLE.backends[1]))


def first() -> tuple[Drawn, Structure]:
    intent = intend(TABLE, Structure(), Wallet())
    structure, slots = grown(Structure(), TABLE, intent.doors, {})
    return Drawn(intent, slots, wanted(TABLE, structure, slots, {})), structure


@pytest.mark.parametrize("servers", [(), (TWO,), (ONE, TWO), (replace(ONE, weight=0),)])
def test_other_servers_are_drawn_as_they_would_be_anew(servers: tuple[Server, ...]) -> None:
    last, structure = first()
    table = with_servers(*servers)
    found = redrawn(last, table, structure)
    assert found is not None
    slots = assign(table, structure, last.want.slots)
    assert found.slots == slots
    assert found.want == wanted(table, structure, slots, {})
    assert found.intent.table is table
    assert found.want.maps is last.want.maps
    anew = difference(last.want, wanted(table, structure, slots, {}), {}, "")
    assert list(difference(last.want, found.want, {}, "")) == list(anew)


@pytest.mark.parametrize(
    "other",
    [
        replace(TABLE, listeners=(replace(TABLE.listeners[0], routes=TABLE.listeners[0].routes[:1]),)),
        replace(TABLE, backends=TABLE.backends[:1]),
        replace(TABLE, backends=(*TABLE.backends[:1], Backend("c", "http", (TWO,)))),
        replace(TABLE, backends=(*TABLE.backends[:1], replace(TABLE.backends[1], sticky=True))),
        replace(TABLE, certificates={"x": Certificate("x", "chain", "key")}),
        replace(TABLE, challenges={"token": "answer"}),
        replace(TABLE, proofs={"b.test": "x"}),
    ],
)
def test_whatever_else_changes_is_worked_out_anew(other: RouteTable) -> None:
    last, structure = first()
    assert redrawn(last, other, structure) is None


def test_of_another_structure_or_with_a_refusal_nothing_is_kept() -> None:
    last, structure = first()
    assert redrawn(last, TABLE, structure) is not None
    assert redrawn(last, TABLE, replace(structure)) is None
    taken = Intent(TABLE, (), structural=False, pems={}, refusals=refusals())
    assert redrawn(replace(last, intent=taken), TABLE, structure) is None


def refusals() -> tuple[Refusal, ...]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        table = replace(TABLE, listeners=(replace(TABLE.listeners[0], port=port),))
        return intend(table, Structure(), Wallet()).refusals
