"""Which address an instance gets."""

from __future__ import annotations

import ipaddress
from collections.abc import Container

from zlayer.model.errors import Exhausted


def gateway(subnet: str) -> str:
    """The first usable address: the bridge."""
    return str(ipaddress.IPv4Network(subnet).network_address + 1)


def pick(subnet: str, used: Container[str], *, after: str | None = None) -> str:
    """A free address, searched upwards from `after` and round: a freed address rests before it is given again.

    Raises `Exhausted` when all are taken. The network, broadcast and gateway addresses are never given.
    """
    net = ipaddress.IPv4Network(subnet)
    first, size = int(net.network_address) + 2, net.num_addresses - 3
    if size <= 0:
        raise Exhausted(f"subnet {subnet} has no room for containers", hint="use a /29 or larger")
    start = int(ipaddress.IPv4Address(after)) - first + 1 if after else 0
    for offset in range(size):
        candidate = str(ipaddress.IPv4Address(first + (start + offset) % size))
        if candidate not in used:
            return candidate
    raise Exhausted(
        f"all {size} addresses of {subnet} are in use",
        hint="remove instances, or give the node a larger subnet in config.toml ([network] subnet)",
    )
