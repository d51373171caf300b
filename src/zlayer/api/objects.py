"""The objects of `ps`: deployments, services and containers as every client sees them."""

from __future__ import annotations

from typing import Literal

from zlayer.api.answers import Answer


class EndpointItem(Answer):
    """Where the proxy answers for the service, and the port of its replicas behind it."""

    name: str
    protocol: str
    port: int
    target_port: int
    public: bool
    host: str | None
    path: str


class ServiceSummary(Answer):
    """How a service stands: replicas wanted, running, and ready to take work."""

    name: str
    image: str
    desired: int
    running: int
    ready: int
    settled: bool
    """Every wanted replica is ready and nothing else of the service is live."""
    note: str
    """What a replica that is not ready waits for or suffers from."""
    endpoints: list[EndpointItem]


class TroubleItem(Answer):
    """Something of a deployment's traffic that is not in force: of one service, or of all when that is empty."""

    service: str
    reason: str


class DeploymentSummary(Answer):
    """`message` says why it failed. `name` and `deployment` are the same."""

    name: str
    deployment: str
    status: Literal[
        "pending",
        "deploying",
        "updating",
        "paused",
        "running",
        "rolled_back",
        "failed",
        "stopping",
        "stopped",
        "removing",
    ]
    message: str
    culprit: str
    """The instance to look at when it failed."""
    revision: int
    service_count: int
    created_at: str | None
    updated_at: str | None
    trouble: list[TroubleItem]
    """Ports that others have, a proxy that is not there: its replicas may run all the same."""
    services: list[ServiceSummary]


class Container(Answer):
    """One instance. `exit_code` is 128 + n for a signal; `restarts` counts its predecessors that ended."""

    deployment: str
    service: str
    replica: int
    id: str
    node: str | None
    state: Literal["pending", "initializing", "running", "stopping", "exited", "failed", "lost"]
    health: Literal["none", "starting", "healthy", "unhealthy"]
    image: str
    ip: str | None
    ports: list[str]
    pid: int | None
    restarts: int
    created_at: str | None
    started_at: str | None
    exit_code: int | None
    reason: str


class RouteItem(Answer):
    """One route of one listener. `addresses` is `["*"]` for a public endpoint; `host` null is any."""

    deployment: str
    service: str
    endpoint: str
    listener: str
    addresses: list[str]
    port: int
    mode: Literal["http", "https", "tcp", "passthrough"]
    host: str | None
    path: str
    servers: int
    """Replicas that get its traffic now."""
    certificates: list[str]


class ServerItem(Answer):
    """A replica behind an endpoint. `current` is under way; `total` and `errors` count since it came."""

    id: str
    address: str
    port: int
    weight: int
    state: str
    current: int
    total: int
    errors: int


class BackendItem(Answer):
    """An endpoint as the proxy sees it. Counters are since the engine started; `rate` is per second now."""

    deployment: str
    service: str
    endpoint: str
    mode: Literal["http", "tcp"]
    balance: str
    servers: list[ServerItem]
    requests: int
    rate: int
    responses: dict[str, int]
    queued: int


class CertificateItem(Answer):
    """A certificate of https endpoints. `users` (`DEPLOYMENT/SERVICE/ENDPOINT`) are served with it or wait for it.

    `source` is null until something is known. `error` is of the last try; `next_try` when another follows by itself.
    """

    name: str
    state: Literal["valid", "pending", "failed", "failing", "expiring", "expired", "unused"]
    source: Literal["acme", "self_signed", "files"] | None
    names: list[str]
    users: list[str]
    issuer: str
    authority: str
    serial: str
    not_before: str | None
    not_after: str | None
    issued_at: str | None
    renew_at: str | None
    ordering: bool
    """An order at the CA is under way."""
    asked: bool
    """A user asked for a new one, and no try has answered that yet: `error` will say whether it was in vain."""
    error: str
    failures: int
    tried_at: str | None
    next_try: str | None
    note: str
    """Why it is not what one might expect."""
    advice: str
    """What its owner should do about it, though it is served."""
    unused_since: str | None


class CertificateDetails(CertificateItem):
    chain: str
    """PEM, leaf first."""


class RevisionItem(Answer):
    """A kept revision. `what` is the change in words; `reason` says why it failed, or why there is it."""

    revision: int
    status: Literal["current", "updating", "failed", "rolled back", "good", "superseded"]
    at: str | None
    what: str
    reason: str


class WaitItem(Answer):
    """What a replica (0: each of them) waits for or suffers from; `until` is when it is over by itself, if known."""

    replica: int
    reason: str
    until: str | None
