"""What a node's proxy is told, whole: listeners, the routes of each, backends with their servers, certificates.

Plain values, derived by `plan.routes` from one store revision and applied by `proxy`. Equal tables mean the same
traffic, so a driver may compare parts by `==` and skip what has not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from zlayer.model.endpoint import Limits, Timeouts

NO_LIMITS = Limits()
USUAL = Timeouts()

Mode = Literal["http", "https", "tcp", "passthrough"]


@dataclass(frozen=True, slots=True)
class Server:
    """One replica behind a backend. `id` is the instance's, never used again for another."""

    id: str
    address: str
    port: int
    weight: int = 100
    """0 to 256, relative to its neighbours: 0 gets nothing new."""


@dataclass(frozen=True, slots=True)
class Backend:
    """`name` is `deployment/service/endpoint`. A backend without servers answers 503 (http) or refuses (tcp)."""

    name: str
    mode: Literal["http", "tcp"]
    servers: tuple[Server, ...] = ()
    http2: bool = False
    balance: Literal["round_robin", "least_connections"] = "round_robin"
    sticky: bool = False
    proxy_protocol: bool = False
    max_connections: int | None = None
    """Of each server; the rest queues."""
    timeouts: Timeouts = USUAL


@dataclass(frozen=True, slots=True)
class Route:
    """The most specific host wins (exact, then longest suffix, then any), within a host the longest path.

    On a tcp listener there is one route without host; on a passthrough listener hosts are compared with the SNI.
    """

    backend: str
    host: str | None = None
    path: str = "/"
    strip_path: bool = False
    limits: Limits = NO_LIMITS
    timeouts: Timeouts = USUAL

    @property
    def owner(self) -> str:
        """`deployment/service`."""
        return self.backend.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Listener:
    """`addresses` may be `*` (every IPv4 and IPv6 address of the node) or addresses of its own."""

    name: str
    addresses: tuple[str, ...]
    port: int
    mode: Mode
    routes: tuple[Route, ...] = ()
    certificates: tuple[str, ...] = ()
    """Names in the table's certificates; the first is shown to clients that ask for none of the names."""
    proves: bool = False
    """Whether the table's proofs are shown here (https and passthrough)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM texts: the chain, leaf first, and its key, which is never shown."""

    name: str
    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """`revision` is the store's that it was derived from. Names in it are unique of their kind."""

    revision: int = field(default=0, compare=False)
    listeners: tuple[Listener, ...] = ()
    backends: tuple[Backend, ...] = ()
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    challenges: Mapping[str, str] = field(default_factory=dict)
    """ACME http-01 (RFC 8555, 8.3): token -> key authorisation, answered on every http listener before any route."""
    proofs: Mapping[str, str] = field(default_factory=dict)
    """ACME tls-alpn-01 (RFC 8737): host -> name in `certificates`, shown to an ALPN of `acme-tls/1` only."""
