"""Which subnet a daemon gets: one of many small ones, so that several daemons share a machine. Pure.

The caller persists the answer and passes it as `preferred` ever after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from itertools import islice

from zlayer.model.errors import Conflict, Invalid

POOLS = (IPv4Network("10.64.0.0/10"), IPv4Network("172.16.0.0/12"))
PREFIX = 20
DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")


def preferred_subnet(short_id: str) -> str:
    """The /20 of 10.64.0.0/10 that a daemon asks for first: the same one every time, another daemon's unlikely."""
    digest = int.from_bytes(hashlib.sha256(short_id.encode()).digest()[:4], "big")
    pool = POOLS[0]
    return _slice(pool, digest % _slices(pool))


def choose_subnet(preferred: str, host_routes: Iterable[str], taken: Iterable[str] = ()) -> str:
    """`preferred`, or the first /20 after it (round the pools once) that nothing else covers.

    `host_routes` are destinations the host reaches otherwise, `taken` subnets promised to others; both in CIDR form,
    default routes ignored. Deterministic. Raises `Invalid` (not an IPv4 network), `Conflict` (no free one).
    """
    occupied = [net for net in map(parse_subnet, (*host_routes, *taken)) if net != DEFAULT_ROUTE]
    for candidate in (parse_subnet(preferred), *_pool_from(preferred)):
        if not any(candidate.overlaps(other) for other in occupied):
            return str(candidate)
    raise Conflict(
        "no free subnet for containers: the host's routes cover 10.64.0.0/10 and 172.16.0.0/12",
        hint='choose one in config.toml, for example:  [network]  subnet = "192.168.240.0/20"',
    )


def overlapping(subnet: str, host_routes: Iterable[str]) -> str | None:
    """The first route that covers, or is covered by, `subnet`; default routes do not count."""
    wanted = parse_subnet(subnet)
    for route in host_routes:
        other = parse_subnet(route)
        if other != DEFAULT_ROUTE and wanted.overlaps(other):
            return route
    return None


def parse_subnet(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise Invalid(
            f"not an IPv4 subnet: {text!r} ({error})", hint='write it as address/prefix, such as "10.64.16.0/20"'
        ) from None


def _slices(pool: IPv4Network) -> int:
    return 1 << (PREFIX - pool.prefixlen)


def _slice(pool: IPv4Network, number: int) -> str:
    return f"{pool.network_address + (number << (32 - PREFIX))}/{PREFIX}"


def _pool_from(preferred: str) -> Iterator[IPv4Network]:
    """Every slice of both pools, starting after `preferred` when that is inside the first."""
    first, second = POOLS
    start = 0
    if parse_subnet(preferred).subnet_of(first):
        start = (int(parse_subnet(preferred).network_address) - int(first.network_address)) >> (32 - PREFIX)
    for number in islice(range(start + 1, start + _slices(first) + 1), _slices(first)):
        yield IPv4Network(_slice(first, number % _slices(first)))
    for number in range(_slices(second)):
        yield IPv4Network(_slice(second, number))
