"""Counters of HAProxy's workers as the contract's values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from zlayer.model.routes import Backend, RouteTable
from zlayer.proxy.contract import BackendStats, ServerStats
from zlayer.proxy.haproxy.names import token
from zlayer.proxy.haproxy.picture import Picture, members
from zlayer.proxy.haproxy.reading import WHOLE, Count

__all__ = ["Count", "summary"]


def summary(
    table: RouteTable,
    picture: Picture,
    counts: Sequence[Count],
    before: Mapping[str, Count],
    older: Sequence[Sequence[Count]] = (),
) -> dict[str, BackendStats]:
    """By backend name. `before` is what a backend's slot had counted for another.

    Requests still under way in replaced workers (`older`) are added to `current`.
    """
    found = {(count.slot, count.server): count for count in counts}
    elsewhere = _current(older)
    slots = picture.slots
    return {
        backend.name: _without(
            _backend(backend, slots[token(backend.name)], found, elsewhere), before.get(token(backend.name))
        )
        for backend in table.backends
        if token(backend.name) in slots
    }


def _without(stats: BackendStats, before: Count | None) -> BackendStats:
    if before is None:
        return stats
    responses = {kind: count - before.responses.get(kind, 0) for kind, count in stats.responses.items()}
    requests, errors = stats.requests - before.total, stats.errors - before.errors
    return replace(stats, requests=requests, errors=errors, responses=responses)


def _current(older: Iterable[Sequence[Count]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for counts in older:
        for count in counts:
            found[f"{count.slot}/{count.server}"] += count.current
    return found


def _backend(
    backend: Backend, slot: int, found: Mapping[tuple[int, str], Count], elsewhere: Mapping[str, int]
) -> BackendStats:
    servers: dict[str, ServerStats] = {}
    for server, (name, member) in zip(backend.servers, members(backend).items(), strict=True):
        count = found.get((slot, name))
        if count is not None:
            up = count.status.startswith("UP") or count.status == "no check"
            state = "draining" if not member.on else "up" if up else "down"
            current = count.current + elsewhere.get(f"{slot}/{name}", 0)
            servers[server.id] = ServerStats(state, current, count.total, count.errors)
    whole = found.get((slot, WHOLE))
    if whole is None:
        return BackendStats(servers, 0, 0, {}, 0, 0, 0)
    return BackendStats(
        servers,
        requests=whole.total,
        rate=whole.rate,
        responses=dict(whole.responses),
        queued=whole.queued,
        errors=whole.errors,
        current=whole.current + elsewhere.get(f"{slot}/{WHOLE}", 0),
    )
