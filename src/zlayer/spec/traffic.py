"""How a service is reached and replaced, as written: the part of `model` that never touches a container."""

from __future__ import annotations

from typing import Literal

from zlayer.model.base import Document
from zlayer.model.endpoint import Protocol, Transport
from zlayer.model.units import Seconds
from zlayer.spec.written import Duration, Memory, Rate


class TlsSpec(Document):
    """`certificate` and `key` are paths as written, relative ones to the file."""

    mode: Literal["auto", "acme", "self_signed", "files", "passthrough"] = "auto"
    certificate: str | None = None
    key: str | None = None


class LimitsSpec(Document):
    rate: Rate | None = None
    burst: int | None = None
    max_body: Memory | None = None
    max_connections: int | None = None


class TimeoutsSpec(Document):
    """None: the protocol has no use for it."""

    connect: Duration | None = None
    queue: Duration | None = None
    head: Duration | None = None
    body: Duration | None = None
    response: Duration | None = None
    idle: Duration | None = None
    tunnel: Duration | None = None


class StreamCheckSpec(Document):
    type: Literal["tcp_connect"] = "tcp_connect"


class StreamSpec(Document):
    """What only endpoints below HTTP have."""

    tls: Literal[False] = False
    proxy_protocol: bool = False
    session_timeout: Duration | None = None
    health_check: StreamCheckSpec | None = None


class EndpointSpec(Document):
    """In normal form: what left out means is filled in, for the keys its protocol has a use for."""

    name: str
    protocol: Protocol
    port: int
    target_port: int
    expose: Literal["internal", "public"] = "internal"
    host: str | None = None
    path: str | None = None
    strip_path: bool = False
    http2: bool = False
    balance: Literal["round_robin", "least_connections"] = "round_robin"
    sticky: bool = False
    tls: TlsSpec | None = None
    limits: LimitsSpec = LimitsSpec()
    timeouts: TimeoutsSpec = TimeoutsSpec()
    stream: StreamSpec | None = None

    @property
    def transport(self) -> Transport:
        return "udp" if self.protocol == "udp" else "tcp"

    @property
    def mode(self) -> Literal["http", "https", "tcp", "passthrough", "udp"]:
        """What the proxy does with it, which is what decides which keys mean something."""
        if self.tls is not None and self.tls.mode == "passthrough":
            return "passthrough"
        return "http" if self.protocol == "websocket" else self.protocol


class PortSpec(Document):
    """`host_port` 0: the node picks one and keeps it."""

    host_port: int = 0
    container_port: int
    protocol: Transport = "tcp"
    host_ip: str = "0.0.0.0"


class NetworkSpec(Document):
    """`reach`: other deployments whose services its containers may open connections to."""

    reach: tuple[str, ...] = ()


class StepSpec(Document):
    """`pause` None: until it is resumed."""

    weight: int
    pause: Duration | None = None


class UpdateSpec(Document):
    """`steps` only of a canary."""

    strategy: Literal["rolling", "blue_green", "canary"] = "rolling"
    order: Literal["auto", "start_first", "stop_first"] = "auto"
    max_surge: int | str = "25%"
    max_unavailable: int | str = 0
    min_ready: Duration = Seconds(5)
    deadline: Duration = Seconds(300)
    drain: Duration = Seconds(30)
    rollback: bool = True
    steps: tuple[StepSpec, ...] = ()
