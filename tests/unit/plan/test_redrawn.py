"""A table drawn again is the table that would be drawn anew, whatever has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.routes import Certificate, RouteTable
from zlayer.plan.redrawn import Tables
from zlayer.plan.routes import NO_CERTIFICATES, Certificates, Piece, pieces, table
from zlayer.testing.builders import deployment

from .test_routes import HOME, endpoint, replica, web

ENDS = (
    endpoint(80, public=True, host="a.test"),
    endpoint(80, public=True, host="b.test"),
    endpoint(443, "https", public=True, host="a.test"),
    endpoint(80, "tcp", public=True),
    endpoint(5432, "tcp"),
)
CERTIFIED = Certificates(pems={"a": Certificate("a", "chain", "key")}, chosen={"shop/s0/https-443": "a"}, acme_port=80)
Step = tuple[list[tuple[int, int]], bool]
"""Of each service: which endpoint, and how many replicas; and whether there are certificates."""
STEPS = st.lists(st.tuples(st.integers(0, len(ENDS) - 1), st.integers(0, 2)), min_size=1, max_size=3)


def parts(step: list[tuple[int, int]]) -> Sequence[Piece]:
    services: dict[str, Any] = {f"s{n}": web(ENDS[which]) for n, (which, _) in enumerate(step)}
    wanted = deployment(**services)
    ready = [replica(wanted, slot, name=f"s{n}") for n, (_, most) in enumerate(step) for slot in range(1, most + 1)]
    return pieces(wanted, ready, HOME)


@given(st.lists(st.tuples(STEPS, st.booleans()), min_size=2, max_size=6))
def test_it_is_the_same_as_drawn_anew(steps: list[Step]) -> None:
    tables = Tables()
    for revision, (step, certified) in enumerate(steps):
        certificates = CERTIFIED if certified else NO_CERTIFICATES
        made, clashes = tables.of([parts(step)], certificates, revision=revision)
        fresh, expected = table([parts(step)], certificates, revision=revision)
        assert (made, made.revision, clashes) == (fresh, revision, expected)


def test_what_did_not_change_is_the_same_object() -> None:
    tables = Tables()

    def drawn(*step: tuple[int, int]) -> RouteTable:
        return tables.of([parts(list(step))], NO_CERTIFICATES)[0]

    before, after = drawn((0, 1), (1, 1)), drawn((0, 1), (1, 2))
    assert after.listeners is before.listeners
    assert [len(one.servers) for one in after.backends] == [1, 2]
    assert drawn((0, 1), (4, 2)).listeners != before.listeners
