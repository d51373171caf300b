"""Which ranges a daemon's containers get: one of many pools, so that several daemons share a machine. Pure.

The caller persists the answer and passes it as `preferred` ever after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice

from zlayer.model.errors import Conflict, Invalid

POOLS = (IPv4Network("10.64.0.0/10"), IPv4Network("172.16.0.0/12"))
PREFIX = 17
DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
TRIES6 = 64


def preferred_subnet(short_id: str) -> str:
    """The /17 of 10.64.0.0/10 that a daemon asks for first: the same one every time, another daemon's unlikely."""
    digest = int.from_bytes(hashlib.sha256(short_id.encode()).digest()[:4], "big")
    pool = POOLS[0]
    return _slice(pool, digest % _slices(pool))


def choose_subnet(preferred: str, host_routes: Iterable[str], taken: Iterable[str] = ()) -> str:
    """`preferred`, or the first /17 after it (round the pools once) that nothing else covers.

    `host_routes` are destinations the host reaches otherwise, `taken` subnets promised to others; both in CIDR form,
    default routes ignored. Deterministic. Raises `Invalid` (not an IPv4 network), `Conflict` (no free one).
    """
    four = (route for route in (*host_routes, *taken) if ":" not in route)
    occupied = [net for net in map(parse_subnet, four) if net != DEFAULT_ROUTE]
    for candidate in (parse_subnet(preferred), *_pool_from(preferred)):
        if not any(candidate.overlaps(other) for other in occupied):
            return str(candidate)
    raise Conflict(
        "no free subnet for containers: the host's routes cover 10.64.0.0/10 and 172.16.0.0/12",
        hint='choose one in config.toml, for example:  [network]  subnet = "192.168.128.0/17"',
    )


def choose_subnet6(short_id: str, host_routes: Iterable[str]) -> str:
    """A unique local /48 (RFC 4193) that is the daemon's own: the same one every time, unless the host routes it.

    Raises `Conflict` when all that it tries are routed.
    """
    occupied = [net for net in (IPv6Network(route) for route in host_routes if ":" in route) if net.prefixlen]
    for attempt in range(TRIES6):
        digest = hashlib.sha256(f"{short_id}/{attempt}".encode()).digest()
        candidate = IPv6Network((b"\xfd" + digest[:5] + bytes(10), 48))
        if not any(candidate.overlaps(other) for other in occupied):
            return str(candidate)
    raise Conflict(
        "no free IPv6 prefix for containers: the host routes all of fd00::/8",
        hint="turn IPv6 for containers off in config.toml:  [network]  ipv6 = false",
    )


def overlapping(subnet: str, host_routes: Iterable[str]) -> str | None:
    """The first route that covers, or is covered by, `subnet`; default routes do not count."""
    wanted = ip_network(subnet)
    for route in host_routes:
        other = ip_network(route)
        if other.version == wanted.version and other.prefixlen and wanted.overlaps(other):
            return route
    return None


def parse_subnet(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise Invalid(
            f"not an IPv4 subnet: {text!r} ({error})", hint='write it as address/prefix, such as "10.64.128.0/17"'
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
