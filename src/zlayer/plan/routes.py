"""From what is wanted and what is ready to the proxy's whole table.

`pieces` looks at one deployment, so that a change in it costs no look at the others; `table` puts the pieces of all
together. Deterministic: equal inputs give equal tables, in an order that does not depend on when things came up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zlayer.model.endpoint import Endpoint
from zlayer.model.instance import Deployment, Service
from zlayer.model.routes import Backend, Certificate, Listener, Mode, Route, RouteTable, Server
from zlayer.plan.seen import Seen
from zlayer.plan.zone import DOMAIN

EVERYWHERE = ("*",)
ONLY_HERE = ("127.0.0.1",)
"""Where an internal endpoint listens when its deployment has no network on this node."""


@dataclass(frozen=True, slots=True)
class Admission:
    """`held` instances get no traffic though ready; `weights` replace the usual 100 of those that do."""

    held: frozenset[str] = frozenset()
    weights: Mapping[str, int] = field(default_factory=dict)


EVERYONE = Admission()


@dataclass(frozen=True, slots=True)
class Piece:
    """One endpoint: where it listens, by which route, in front of which servers. `owner` is `deployment/service`."""

    owner: str
    addresses: tuple[str, ...]
    port: int
    mode: Mode
    route: Route
    backend: Backend
    tls: str = ""
    """Of an https endpoint: the name its certificate is chosen by, empty for any."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """`chosen` maps backend names to names in `pems`. `challenges` are answered on http listeners and `acme_port`."""

    pems: Mapping[str, Certificate] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    challenges: Mapping[str, str] = field(default_factory=dict)
    acme_port: int | None = None
    """Listened on, even without routes, while names are proved by http-01."""
    proofs: Mapping[str, Certificate] = field(default_factory=dict)
    """By host, what is shown for tls-alpn-01 on `tls_port`."""
    tls_port: int | None = None
    """Listened on, even without routes, while names are proved by tls-alpn-01."""


NO_CERTIFICATES = Certificates()


def pieces(
    deployment: Deployment, seen: Iterable[Seen], home: tuple[str, ...] = ONLY_HERE, admission: Admission = EVERYONE
) -> tuple[Piece, ...]:
    """Every endpoint of a deployment that the proxy serves. `home` are its network's own addresses on this node."""
    ready = serving(seen, admission.held)
    return tuple(
        piece
        for name, service in deployment.services.items()
        for piece in service_pieces(f"{deployment.name}/{name}", service, ready.get(name, ()), home, admission)
    )


def serving(seen: Iterable[Seen], held: Collection[str] = ()) -> dict[str, list[Seen]]:
    """The replicas that get traffic, by service, in an order that does not depend on when they came up."""
    ready: dict[str, list[Seen]] = {}
    for one in seen:
        if one.ready and one.live and one.id not in held:
            ready.setdefault(one.instance.service, []).append(one)
    for replicas in ready.values():
        replicas.sort(key=lambda one: (one.instance.slot, one.id))
    return ready


def service_pieces(
    owner: str,
    service: Service,
    replicas: Sequence[Seen],
    home: tuple[str, ...] = ONLY_HERE,
    admission: Admission = EVERYONE,
) -> tuple[Piece, ...]:
    """`pieces` of one service; `owner` is `deployment/service`, `replicas` are those that get traffic."""
    return tuple(_piece(owner, e, replicas, home, admission) for e in service.endpoints if e.transport == "tcp")


def _piece(
    owner: str, endpoint: Endpoint, replicas: Sequence[Seen], home: tuple[str, ...], admission: Admission
) -> Piece:
    mode = _mode(endpoint)
    name = f"{owner}/{endpoint.name}"
    http = mode in ("http", "https")
    backend = Backend(
        name=name,
        mode="http" if http else "tcp",
        servers=tuple(_server(one, endpoint, admission) for one in replicas if _address(one)),
        http2=endpoint.http2,
        balance=endpoint.balance,
        sticky=endpoint.sticky,
        proxy_protocol=endpoint.proxy_protocol,
        max_connections=endpoint.limits.max_connections,
        timeouts=endpoint.timeouts,
    )
    route = Route(
        backend=name,
        host=endpoint.host if mode != "tcp" else None,
        path=endpoint.path if http else "/",
        strip_path=endpoint.strip_path,
        limits=endpoint.limits,
        timeouts=endpoint.timeouts,
    )
    return Piece(
        owner, EVERYWHERE if endpoint.public else home, endpoint.port, mode, route, backend, endpoint.host or ""
    )


def _mode(endpoint: Endpoint) -> Mode:
    if endpoint.tls is not None and endpoint.tls.mode == "passthrough":
        return "passthrough"
    if endpoint.protocol == "https":
        return "https"
    return "tcp" if endpoint.protocol == "tcp" else "http"


def _address(one: Seen) -> str:
    """Where a replica answers: its own address, the node's for one on the host's network."""
    if one.status is not None and one.status.address:
        return one.status.address
    return "127.0.0.1" if one.instance.spec.network_mode == "host" else ""


def _server(one: Seen, endpoint: Endpoint, admission: Admission) -> Server:
    return Server(one.id, _address(one), endpoint.target_port, admission.weights.get(one.id, 100))


def table(
    parts: Iterable[Sequence[Piece]], certificates: Certificates = NO_CERTIFICATES, *, revision: int = 0
) -> tuple[RouteTable, tuple[tuple[str, str], ...]]:
    """The whole table, and whose and what could not be part of it: two that want one listener in ways that clash.

    Deploys are refused before that happens (`plan.listeners`); where it does all the same, the first by name stays.
    Inside a deployment many services have one port: each is reached by its own name, and at the gateway by it too.
    """
    drafts: dict[tuple[tuple[str, ...], int], _Draft] = {}
    backends: dict[str, Backend] = {}
    clashes: list[tuple[str, str]] = []
    for wanted in sorted((p for part in parts for p in part), key=lambda p: p.backend.name):
        key = (wanted.addresses, wanted.port)
        draft = drafts.get(key) or _Draft(*key, wanted.mode)
        inside, why = wanted.addresses != EVERYWHERE, draft.clash(wanted)
        piece = _by_name(wanted) if why and inside else wanted
        if why and not inside:
            clashes.append((wanted.owner, why))
        if why and (not inside or draft.clash(piece)):
            continue
        drafts[key] = draft
        draft.join(piece, certificates)
        backends[piece.backend.name] = piece.backend
    if certificates.acme_port is not None:
        key = (EVERYWHERE, certificates.acme_port)
        drafts.setdefault(key, _Draft(*key, "http"))
    if certificates.tls_port is not None:
        key = (EVERYWHERE, certificates.tls_port)
        clashes += drafts.setdefault(key, _Draft(*key, "https")).prove()
    listeners = tuple(sorted((draft.listener() for draft in drafts.values()), key=lambda one: one.name))
    used = {name for one in listeners for name in one.certificates}
    proofs = certificates.proofs if any(one.proves for one in listeners) else {}
    made = RouteTable(
        revision=revision,
        listeners=listeners,
        backends=tuple(backends[name] for name in sorted(backends)),
        certificates={name: pem for name, pem in certificates.pems.items() if name in used}
        | {one.name: one for one in proofs.values()},
        challenges=dict(certificates.challenges),
        proofs={host: one.name for host, one in proofs.items()},
    )
    return made, tuple(clashes)


@dataclass(slots=True)
class _Draft:
    """A listener while routes join it, of which there may be thousands."""

    addresses: tuple[str, ...]
    port: int
    mode: Mode
    routes: dict[tuple[str | None, str], Route] = field(default_factory=dict)
    """By host and path."""
    certificates: set[str] = field(default_factory=set)
    proves: bool = False

    def clash(self, piece: Piece) -> str:
        """Why a piece cannot join; empty when it can."""
        if self.mode != piece.mode:
            first = next((route.backend for route in self.routes.values()), _name(self.addresses, self.port))
            return f"port {piece.port}: {piece.backend.name} is {piece.mode}, {first} is {self.mode}"
        if (route := self.routes.get((piece.route.host, piece.route.path))) is not None:
            where = f"{piece.route.host or 'any host'}{piece.route.path}"
            return f"port {piece.port}, {where}: {piece.backend.name} and {route.backend} want the same"
        return ""

    def join(self, piece: Piece, certificates: Certificates) -> None:
        self.routes[piece.route.host, piece.route.path] = piece.route
        if piece.mode == "https" and (chosen := certificates.chosen.get(piece.backend.name)):
            self.certificates.add(chosen)

    def prove(self) -> list[tuple[str, str]]:
        """Names are proved here by tls-alpn-01; whose listener it is, and why it cannot be, where no TLS comes."""
        self.proves = self.mode in ("https", "passthrough")
        if self.proves:
            return []
        why = f"port {self.port}: names cannot be proved by tls-alpn-01, for"
        return [(one.owner, f"{why} {one.backend} is {self.mode}") for one in list(self.routes.values())[:1]]

    def listener(self) -> Listener:
        """Routes most specific first; an https listener without any certificate yet has none to show."""
        return Listener(
            _name(self.addresses, self.port),
            self.addresses,
            self.port,
            self.mode,
            tuple(sorted(self.routes.values(), key=specificity)),
            tuple(sorted(self.certificates)),
            self.proves,
        )


def _name(addresses: tuple[str, ...], port: int) -> str:
    return f"{'public' if addresses == EVERYWHERE else addresses[0]}-{port}"


def _by_name(piece: Piece) -> Piece:
    """The same for its service's own name only, where a request says which it wants."""
    if piece.route.host is not None or piece.mode != "http":
        return piece
    name = f"{piece.owner.partition('/')[2]}.{DOMAIN}"
    return replace(piece, route=replace(piece.route, host=name))


def specificity(route: Route) -> tuple[int, int, int, str]:
    """Sort key: exact hosts, then longer suffixes, then any host; within one the longer path."""
    host = route.host
    rank = 2 if host is None else 1 if host.startswith("*.") else 0
    return (rank, -len(host or ""), -len(route.path), host or "")
