"""What a node's name server is told, whole: for each network who asks from it, and the names it may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class View:
    """One deployment's names. Questions come in on `listen`, the network's own addresses on this node, from `clients`,
    its blocks (empty: from anywhere).

    `names` maps fully qualified lower-case names without a final dot to IPv4 and IPv6 addresses in the order to be
    rotated. A name that maps to nothing exists and has no address now (NODATA); others of the domain are NXDOMAIN.
    """

    network: str
    listen: tuple[str, ...]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    clients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Zone:
    """`revision` is the store's that it was derived from. `domain` is what is answered here; the rest is forwarded."""

    revision: int = field(default=0, compare=False)
    domain: str = "service.local"
    ttl: int = 1
    """Seconds."""
    upstreams: tuple[str, ...] = ()
    """The host's resolvers, asked in turn; empty: other names are refused (SERVFAIL)."""
    views: tuple[View, ...] = ()
