"""How a service is reached: its endpoints behind the proxy, the host ports it publishes, and how it is updated.

None of this is part of a container's digest: a new host name or another limit touches no replica.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zlayer.model.base import Document, Port
from zlayer.model.units import Bytes, Seconds

Protocol = Literal["http", "https", "tcp", "udp", "websocket"]
Transport = Literal["tcp", "udp"]


class Tls(Document):
    """Where the certificate of an `https` endpoint comes from.

    `auto`: self-signed for local names and without a host, else ACME when the node has an account, else self-signed.
    `passthrough`: TLS ends in the container; the proxy only reads the name asked for (SNI, RFC 6066).
    """

    mode: Literal["auto", "acme", "self_signed", "files", "passthrough"] = "auto"
    certificate: str | None = None
    """PEM file with the chain, leaf first; for `files`."""
    key: str | None = None
    """PEM file with the private key; for `files`."""


class Limits(Document):
    """None is without limit. `rate` is requests (connections, for tcp) per second and client address."""

    rate: float | None = None
    burst: int | None = None
    """Requests above the rate that are let through at once. None: as many as one second's."""
    max_body: Bytes | None = None
    max_connections: int | None = None
    """Of each replica; what comes above waits in a queue for `queue`."""


class Timeouts(Document):
    """`head` and `body` are the slowloris guards; `response` is from request to the head of the answer."""

    connect: Seconds = Seconds(5)
    queue: Seconds = Seconds(30)
    head: Seconds = Seconds(10)
    body: Seconds = Seconds(60)
    response: Seconds = Seconds(60)
    idle: Seconds = Seconds(60)
    """Between two requests of a connection kept open, and between two bytes of a tcp stream."""
    tunnel: Seconds = Seconds(3600)
    """Without a byte either way on a WebSocket or a tunnel."""


class Endpoint(Document):
    """A port the service answers on. The proxy listens on `port` and speaks to `target_port` of ready replicas.

    `public`: on every address of the node; else only for its own deployment and the node itself.
    """

    name: str
    protocol: Protocol
    port: Port
    target_port: Port
    public: bool = False
    host: str | None = None
    """Exact name or `*.suffix`, lower case; None is any."""
    path: str = "/"
    """Path prefix, on segment borders: `/api` is `/api` and `/api/x`, not `/apiary`."""
    strip_path: bool = False
    http2: bool = False
    """Speak HTTP/2 without TLS to the container, as gRPC servers want it."""
    balance: Literal["round_robin", "least_connections"] = "round_robin"
    sticky: bool = False
    """A client comes back to the replica it was at (a cookie for http, its address for tcp)."""
    proxy_protocol: bool = False
    """Tell the container the client's address by the PROXY protocol, version 2."""
    session: Seconds = Seconds(60)
    """How long a udp session is kept without a packet."""
    tls: Tls | None = None
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()

    @property
    def transport(self) -> Transport:
        return "udp" if self.protocol == "udp" else "tcp"

    @property
    def direct(self) -> bool:
        """Reached at the replicas' own addresses just as well: it yields the proxy's listener to one that is not."""
        plain = self.host is None and self.path == "/" and self.tls is None and self.protocol != "https"
        return plain and not self.public and self.port == self.target_port


class PublishedPort(Document):
    """A port of the node forwarded to `container_port` of ready replicas by the kernel, past the proxy."""

    host_port: int = Field(0, ge=0, le=65535)
    """0: the node picks a free one and keeps it."""
    container_port: Port
    protocol: Transport = "tcp"
    host_ip: str = ""
    """Empty: every address of the node."""


class Step(Document):
    """One step of a canary: `weight` percent of the traffic to the new revision, for `pause` (None: until resumed)."""

    weight: int = Field(ge=1, le=100)
    pause: Seconds | None = None


class Update(Document):
    """How a changed service is replaced. The defaults lose no request and undo what does not work."""

    strategy: Literal["rolling", "blue_green", "canary"] = "rolling"
    order: Literal["auto", "start_first", "stop_first"] = "auto"
    """`auto`: start-first unless two cannot live side by side (a host port, data with one writer)."""
    max_surge: int | str = "25%"
    """Replicas above the wanted count while it goes on; a share is rounded up."""
    max_unavailable: int | str = 0
    """Replicas that may be missing while it goes on; a share is rounded down."""
    min_ready: Seconds = Seconds(5)
    """How long a replacement must have been ready before it gets traffic and its predecessor leaves."""
    deadline: Seconds = Seconds(300)
    """Without progress for so long, the revision has failed."""
    drain: Seconds = Seconds(30)
    """How long a replica that leaves may finish what it has, before TERM."""
    rollback: bool = True
    """Go back to the previous revision when this one has failed."""
    steps: tuple[Step, ...] = (Step(weight=10, pause=Seconds(60)), Step(weight=50, pause=Seconds(60)))
    """Of a canary; 100 percent comes after the last."""
