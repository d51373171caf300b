"""What HAProxy can only learn by a reload: its listening frontends, and the kinds of its backend sections.

Backend sections cannot be made at run time. So there is a pool of numbered slots: a new backend takes a free slot of
its shape, and only a shape of which none is free needs a reload, which then adds spare ones.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from zlayer.model.errors import Invalid
from zlayer.model.routes import USUAL, Backend, Listener, Mode, Route, RouteTable
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy.memo import by_identity
from zlayer.proxy.haproxy.names import token

EVERY = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Shape:
    """All that a backend section says for good. Times in milliseconds; `idle` is 0 for http: the client's counts."""

    mode: Literal["http", "tcp"] = "http"
    balance: Literal["round_robin", "least_connections"] = "round_robin"
    sticky: bool = False
    connect: int = 5000
    queue: int = 30000
    idle: int = 0


HTTP = Shape()
TCP = Shape("tcp", idle=60000)
SPARE: Mapping[Shape, int] = {HTTP: 64, TCP: 16}
"""Free slots after a reload: so many of the usual shapes, or a quarter of those in use when that is more."""


@dataclass(frozen=True, slots=True)
class Door:
    """A frontend: one listener of the table, as far as a reload is needed to change it. Times in milliseconds."""

    name: str
    addresses: tuple[str, ...]
    port: int
    mode: Mode
    head: int
    body: int
    idle: int
    depths: tuple[int, ...] = ()
    """How many labels the suffixes of its wildcard routes have, most first."""
    strips: tuple[int, ...] = ()
    """How many path segments its routes strip."""
    sized: bool = False
    rated: bool = False
    timed: bool = False
    """Whether some route limits bodies or the rate, or has times of its own: rules that nobody needs are not there."""
    default: bool = False
    """Whether a certificate is shown to clients that ask for no name of ours; else such a handshake is refused."""
    proves: bool = False
    """Whether hellos are looked at first, for those of a CA that asks for a proof by tls-alpn-01."""

    @property
    def web(self) -> bool:
        return self.mode in {"http", "https"}

    @property
    def binds(self) -> tuple[tuple[str, int], ...]:
        return tuple((address, self.port) for address in self.addresses)


@dataclass(frozen=True, slots=True)
class Structure:
    """`generation` counts reloads; a worker tells it, so that one knows by which structure it lives."""

    generation: int = 0
    doors: tuple[Door, ...] = ()
    slots: tuple[Shape, ...] = ()


def depth(path: str) -> int:
    """How many segments a path has: `/api` one, `/` none."""
    stripped = path.strip("/")
    return stripped.count("/") + 1 if stripped else 0


def milliseconds(seconds: Seconds) -> int:
    return max(1, round(seconds * 1000))


@by_identity
def shape_of(backend: Backend) -> Shape:
    """The shape of the slot a backend needs; the same object for equal ones."""
    times = backend.timeouts
    idle = milliseconds(times.idle) if backend.mode == "tcp" else 0
    connect, queue = milliseconds(times.connect), milliseconds(times.queue)
    shape = Shape(backend.mode, backend.balance, backend.sticky, connect, queue, idle)
    return _SHAPES.setdefault(shape, shape)


_SHAPES = {HTTP: HTTP, TCP: TCP}


@dataclass(frozen=True, slots=True)
class Demand:
    """What one route asks of its frontend."""

    head: int
    body: int
    idle: int
    suffix: int
    strip: int
    sized: bool
    rated: bool
    timed: bool


@by_identity
def demand_of(route: Route) -> Demand:
    times, limits = route.timeouts, route.limits
    return Demand(
        milliseconds(times.head),
        milliseconds(times.body),
        milliseconds(times.idle),
        suffix=route.host.count(".") if route.host and route.host.startswith("*.") else 0,
        strip=depth(route.path) if route.strip_path else 0,
        sized=limits.max_body is not None,
        rated=limits.rate is not None,
        timed=times.response != USUAL.response or times.tunnel != USUAL.tunnel,
    )


NO_DEMAND = demand_of(Route(""))


def door_of(listener: Listener, usable: Sequence[str] = ()) -> Door:
    """Slowloris guards are a frontend's: where routes differ, the most patient one is meant.

    `usable` are those of its certificates that are good. `Invalid`: no address.
    """
    demands = {demand_of(route) for route in listener.routes} or {NO_DEMAND}
    suffixes = {demand.suffix for demand in demands} - {0}
    return Door(
        listener.name,
        _addresses(listener),
        listener.port,
        listener.mode,
        head=max(demand.head for demand in demands),
        body=max(demand.body for demand in demands),
        idle=max(demand.idle for demand in demands),
        depths=tuple(sorted(suffixes, reverse=True)) if listener.mode != "tcp" else (),
        strips=tuple(sorted({demand.strip for demand in demands} - {0})),
        sized=any(demand.sized for demand in demands),
        rated=any(demand.rated for demand in demands),
        timed=any(demand.timed for demand in demands),
        default=listener.mode == "https" and bool(usable),
        proves=listener.proves,
    )


def _addresses(listener: Listener) -> tuple[str, ...]:
    found: list[str] = []
    for given in listener.addresses:
        try:
            found += EVERY if given == "*" else (str(ipaddress.ip_address(given)),)
        except ValueError:
            raise Invalid(f"listener {listener.name}: {given!r} is no address to listen on") from None
    return tuple(dict.fromkeys(found))


def covers(have: Structure, doors: Iterable[Door]) -> bool:
    """Whether these doors are served by a structure as it stands: a rule too many does no harm."""
    known = {door.name: door for door in have.doors}
    wanted = {door.name: door for door in doors}
    if known.keys() != wanted.keys():
        return False
    return all(_serves(known[name], door) for name, door in wanted.items())


def _serves(have: Door, want: Door) -> bool:
    enough = set(want.depths) <= set(have.depths) and set(want.strips) <= set(have.strips)
    enough = enough and want.sized <= have.sized and want.rated <= have.rated and want.timed <= have.timed
    return enough and united(have, want) == have


def united(have: Door, want: Door) -> Door:
    """`want` with the rules that `have` has beside: what was used once is used again."""
    return replace(
        want,
        depths=tuple(sorted({*have.depths, *want.depths}, reverse=True)),
        strips=tuple(sorted({*have.strips, *want.strips})),
        sized=have.sized or want.sized,
        rated=have.rated or want.rated,
        timed=have.timed or want.timed,
    )


def assign(table: RouteTable, structure: Structure, taken: Mapping[str, int]) -> dict[str, int | None]:
    """A slot of the right shape for each backend: the one it has, else a free one; None where none is left.

    Here and wherever slots are given by name, the name is as `names.token` writes it.
    """
    slots: dict[str, int | None] = {}
    shapes = {token(backend.name): shape_of(backend) for backend in table.backends}
    for name, shape in shapes.items():
        had = taken.get(name)
        known = structure.slots[had] if had is not None and had < len(structure.slots) else None
        slots[name] = had if known is shape or known == shape else None
    if None not in slots.values():
        return slots
    used = {slot for slot in slots.values() if slot is not None} | set(taken.values())
    free: dict[Shape, list[int]] = {}
    for number, shape in reversed(list(enumerate(structure.slots))):
        if number not in used:
            free.setdefault(shape, []).append(number)
    for name, shape in shapes.items():
        if slots[name] is None and free.get(shape):
            slots[name] = free[shape].pop()
    return slots


def grown(
    old: Structure, table: RouteTable, doors: tuple[Door, ...], taken: Mapping[str, int]
) -> tuple[Structure, dict[str, int]]:
    """A structure in which every backend has its slot and some are spare, and the slots. Those in use keep theirs."""
    assigned = assign(table, old, taken)
    used = {slot for slot in assigned.values() if slot is not None}
    slots = {number: old.slots[number] for number in used}
    numbers = iter(number for number in range(len(old.slots) + len(assigned) + 1) if number not in used)
    for backend in table.backends:
        if assigned[token(backend.name)] is None:
            number = next(numbers)
            assigned[token(backend.name)], slots[number] = number, shape_of(backend)
    for shape, least in SPARE.items():
        spare = max(least, sum(used == shape for used in slots.values()) // 4)
        for number in _free(slots, spare):
            slots[number] = shape
    filled = tuple(slots.get(number, HTTP) for number in range(max(slots) + 1))
    found = {name: slot for name, slot in assigned.items() if slot is not None}
    return Structure(old.generation + 1, doors, filled), found


def _free(slots: Mapping[int, Shape], count: int) -> list[int]:
    return [number for number in range(len(slots) + count) if number not in slots][:count]
