"""What was worked out of a table serves the next one where only servers have come or gone, as mostly happens.

The rest of it costs several milliseconds for some hundred services, and somebody waits for the server that came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from zlayer.model.routes import RouteTable
from zlayer.proxy.haproxy.intent import Intent, same
from zlayer.proxy.haproxy.names import token
from zlayer.proxy.haproxy.picture import Member, Picture, members
from zlayer.proxy.haproxy.structure import Structure, shape_of


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a table was taken for: no listener of it is refused, and each backend has its slot in that structure."""

    intent: Intent
    slots: Mapping[str, int | None]
    want: Picture


def redrawn(last: Drawn, table: RouteTable, structure: Structure) -> Drawn | None:
    """The same of another table that differs in servers alone; None where more than that does."""
    old = last.intent.table
    if last.want.structure is not structure or last.intent.refusals or len(old.backends) != len(table.backends):
        return None
    if not same(replace(old, backends=table.backends), table):
        return None
    servers: dict[int, Mapping[str, Member]] = dict(last.want.servers)
    for before, now in zip(old.backends, table.backends, strict=True):
        if before is now:
            continue
        slot = last.slots.get(token(now.name))
        if before.name != now.name or shape_of(before) is not shape_of(now) or slot is None:
            return None
        servers[slot] = members(now)
    return Drawn(replace(last.intent, table=table), last.slots, replace(last.want, servers=servers))
