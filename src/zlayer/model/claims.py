"""Ports of a node that services claim, and which two cannot both have. One rule for files, deploys and the API.

What may share a port: http endpoints of different host or path, https ones likewise, ports passed through by SNI of
different hosts. Endpoints that are not public listen on their own deployment's network only; those of them that
are reached at the replicas' own addresses just as well (`Endpoint.direct`) clash with nothing of other services, so
that two services of a deployment may both have port 80.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from zlayer.model.endpoint import Endpoint, PublishedPort, Transport
from zlayer.model.instance import Service

Kind = Literal["http", "https", "tcp", "passthrough", "udp", "mapping", "host"]


@dataclass(frozen=True, slots=True)
class Claim:
    """`scope`: the deployment whose network an endpoint listens on, empty for the whole node.

    `owner` and `what` are for messages; `place` is where the service's document has it.
    """

    deployment: str
    service: str
    what: str
    place: tuple[str, int]
    kind: Kind
    transport: Transport
    port: int
    scope: str = ""
    address: str = ""
    host: str | None = None
    path: str = "/"
    direct: bool = False

    @property
    def proxied(self) -> bool:
        return self.kind not in ("mapping", "host")

    @property
    def wish(self) -> str:
        """What is wanted, for a message: `port 443/tcp for shop.example.org/api`."""
        text = f"port {self.port}/{self.transport}"
        if self.kind == "mapping" and self.address:
            return f"{text} of {self.address}"
        if self.kind in ("http", "https"):
            return f"{text} for {self.host or 'any host'}{'' if self.path == '/' else self.path}"
        return f"{text} for {self.host or 'any host'}" if self.kind == "passthrough" else text


def claims(deployment: str, service: str, wanted: Service) -> Iterator[Claim]:
    """All that a service claims. On the host's network its containers hold their ports themselves."""
    on_host = wanted.container.network_mode == "host"
    held: set[tuple[int, Transport]] = set()
    for i, endpoint in enumerate(wanted.endpoints):
        port = (endpoint.target_port, endpoint.transport)
        if on_host and port not in held:
            held.add(port)
            yield _held(deployment, service, i, endpoint)
        if not on_host or endpoint.target_port != endpoint.port:
            yield _listening(deployment, service, i, endpoint)
    for i, mapping in enumerate(wanted.ports):
        if mapping.host_port:
            yield _published(deployment, service, i, mapping)


def _held(deployment: str, service: str, i: int, endpoint: Endpoint) -> Claim:
    what = f"endpoint {endpoint.name!r}"
    return Claim(
        deployment, service, what, ("endpoints", i), "host", endpoint.transport, endpoint.target_port
    )  # fmt: skip


def _listening(deployment: str, service: str, i: int, endpoint: Endpoint) -> Claim:
    return Claim(
        deployment,
        service,
        f"endpoint {endpoint.name!r}",
        ("endpoints", i),
        _kind(endpoint),
        endpoint.transport,
        endpoint.port,
        scope="" if endpoint.public else deployment,
        host=endpoint.host,
        path=endpoint.path,
        direct=endpoint.direct,
    )


def _kind(endpoint: Endpoint) -> Kind:
    if endpoint.tls is not None and endpoint.tls.mode == "passthrough":
        return "passthrough"
    return "http" if endpoint.protocol == "websocket" else endpoint.protocol


def _published(deployment: str, service: str, i: int, port: PublishedPort) -> Claim:
    what = f"port mapping {i + 1}"
    return Claim(
        deployment, service, what, ("port_mappings", i), "mapping", port.protocol, port.host_port, address=port.host_ip
    )


Group = dict[tuple[str | None, str], Claim]
"""Endpoints that share a listener, by what tells their requests apart."""


@dataclass(slots=True)
class _Port:
    """Who has one port and transport of the node."""

    held: Claim | None = None
    mapped: dict[str, Claim] = field(default_factory=dict)
    """By address, empty for every one."""
    proxied: dict[str, Group] = field(default_factory=dict)
    """By scope."""
    direct: dict[tuple[str, str], Group] = field(default_factory=dict)
    """By deployment and service."""

    def add(self, claim: Claim) -> None:
        if claim.direct:
            self.direct.setdefault((claim.deployment, claim.service), {})[claim.host, claim.path] = claim
        elif claim.kind == "host":
            self.held = claim
        elif claim.kind == "mapping":
            self.mapped[claim.address] = claim
        else:
            self.proxied.setdefault(claim.scope, {})[claim.host, claim.path] = claim


@dataclass(slots=True)
class Ground:
    """Claims taken one by one: the first has it."""

    _ports: dict[tuple[int, Transport], _Port] = field(default_factory=dict)

    def take(self, claim: Claim) -> Claim | None:
        """None when it was free, else the claim that has it."""
        port = self._ports.setdefault((claim.port, claim.transport), _Port())
        rival = _rival(port, claim)
        if rival is None:
            port.add(claim)
        return rival


def _rival(port: _Port, claim: Claim) -> Claim | None:
    own = port.direct.get((claim.deployment, claim.service), {})
    if claim.proxied and (rival := _among(own, claim)):
        return rival
    group = port.proxied.get(claim.scope, {})
    if claim.direct:
        return _among({key: one for key, one in group.items() if one.service == claim.service}, claim)
    if port.held is not None:
        return port.held
    if claim.kind == "mapping":
        everywhere = _first(port.proxied.get("", {}))
        return everywhere or port.mapped.get("") or _mapped(port, claim.address)
    if claim.kind == "host":
        return _mapped(port) or next((one for group in port.proxied.values() for one in group.values()), None)
    return (None if claim.scope else _mapped(port)) or _among(group, claim)


def _among(group: Group, claim: Claim) -> Claim | None:
    """Of those with one listener: any of another kind, else the one that is told apart by nothing."""
    first = _first(group)
    if first is None or (first.kind == claim.kind and claim.kind not in ("tcp", "udp")):
        return group.get((claim.host, claim.path))
    return first


def _first(group: Group) -> Claim | None:
    return next(iter(group.values()), None)


def _mapped(port: _Port, address: str = "") -> Claim | None:
    """Any mapping that would take packets sent to `address`, empty for every one."""
    return port.mapped.get(address) if address else next(iter(port.mapped.values()), None)


def explain(claim: Claim, rival: Claim, owner: str) -> str:
    """Why `claim` cannot be had; `owner` is what the rival's service is called here."""
    has = f"{rival.what} of {owner}"
    if claim.proxied and rival.proxied and claim.kind != rival.kind:
        return f"port {claim.port}/{claim.transport} cannot be {claim.kind}: {has} has it as {rival.kind}"
    return f"{claim.wish} is taken: {has} has it"
