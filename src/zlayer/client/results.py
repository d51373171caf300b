"""What a daemon answers, as frozen records. Times are RFC 3339 text in UTC as the API sends them, or None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from zlayer.client.record import Record


class ServiceSummary(Record):
    """How one service of a deployment stands. An endpoint is an object with name, protocol and port.

    `settled`: every wanted replica is ready and nothing else of the service lives. `note`: what one waits for.
    """

    name: str
    image: str = ""
    desired: int = 0
    running: int = 0
    ready: int = 0
    settled: bool = True
    note: str = ""
    endpoints: tuple[Mapping[str, Any], ...] = ()  # Any: JSON values

    @property
    def stable(self) -> bool:
        return self.settled and self.running == self.ready == self.desired


class Trouble(Record):
    """Something of a deployment's traffic that is not in force, of one service or (empty) of all."""

    service: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.service}: {self.reason}" if self.service else self.reason


class Deployment(Record):
    """A deployment and its services. `status`: pending, deploying, running, failed, stopping, stopped, removing.

    `message` says why it failed, and `culprit` is the instance to look at then. `trouble` is of its traffic: ports
    that others have, a proxy that is not there.
    """

    parts: ClassVar[Mapping[str, type[Record]]] = {"services": ServiceSummary, "trouble": Trouble}

    deployment: str
    status: str = "pending"
    message: str = ""
    culprit: str = ""
    revision: int = 0
    service_count: int = 0
    created_at: str | None = None
    trouble: tuple[Trouble, ...] = ()
    services: tuple[ServiceSummary, ...] = ()


class Container(Record):
    """One instance, as `ps -c` shows it. `replica` counts from 1; `exit_code` is 128 + n for a signal."""

    deployment: str
    service: str
    replica: int
    id: str
    node: str | None = None
    state: str = "pending"
    health: str = "none"
    image: str = ""
    ip: str | None = None
    ports: tuple[str, ...] = ()
    pid: int | None = None
    restarts: int = 0
    created_at: str | None = None
    started_at: str | None = None
    exit_code: int | None = None
    reason: str | None = None


class Change(Record):
    """One step of a plan. `action`: create, replace, remove, keep, start, stop."""

    service: str
    action: str
    slot: int = 0
    instance: str | None = None
    reason: str | None = None


class Plan(Record):
    """What an `up` would do, and the revision it was made on (send it back to refuse a deployment changed since)."""

    parts: ClassVar[Mapping[str, type[Record]]] = {"changes": Change}

    deployment: str
    revision: int = 0
    changes: tuple[Change, ...] = ()

    @property
    def empty(self) -> bool:
        return all(change.action == "keep" for change in self.changes)


class Accepted(Record):
    """A wish made durable. `changed` False: it was so already and nothing will be touched."""

    deployment: str
    revision: int = 0
    changed: bool = True


class LogLine(Record):
    """One line without its newline. `partial`: the writer had not ended it."""

    data: str
    at: str | float | None = None
    stream: str = "stdout"
    instance: str = ""
    service: str = ""
    slot: int = 0
    partial: bool = False


class ProgressEvent(Record):
    """Something that happened to a deployment while it is followed."""

    kind: str = ""
    message: str = ""
    service: str = ""
    instance: str = ""
    at: str | float | None = None


class Event(Record):
    """An entry of the daemon's event list. `kind` is dotted: `instance.ready`, `image.pulled`."""

    kind: str
    at: str | float | None = None
    deployment: str = ""
    service: str = ""
    instance: str = ""
    node: str = ""
    message: str = ""


class ExecResult(Record):
    exit_code: int
    stdout: str = ""
    stderr: str = ""


class RunEvent(Record):
    """One step of a one-off: pulling, created, output (`data` is base64), exited, removed."""

    event: str
    id: str = ""
    stream: str = "stdout"
    data: str = ""
    code: int | None = None
    oom: bool = False
    reason: str | None = None
    digest: str = ""
    phase: str = ""
    done: int = 0
    total: int = 0


class Image(Record):
    reference: str
    digest: str = ""
    platform: str = ""
    size: int = 0
    pulled_at: str | float | None = None


class PullProgress(Record):
    """How one blob of a pull or push stands, in bytes.

    `phase`: waiting, downloading, extracting, uploading, done, exists, mounted.
    """

    digest: str
    phase: str
    done: int = 0
    total: int = 0


class ImageUsage(Record):
    """Bytes on disk: in all, what only it stands on, what it has in common with others."""

    reference: str
    size: int = 0
    alone: int = 0
    shared: int = 0
    in_use: bool = False
    used_at: str | float | None = None


class S3Standing(Record):
    """A bucket images are shared by. `state`: ok, failing, untried. `held_up`: why the blobs that wait do not go up."""

    name: str
    endpoint: str = ""
    state: str = ""
    why: str = ""
    since: str | float | None = None
    waiting: int = 0
    waiting_bytes: int = 0
    held_up: str = ""


class DiskUsage(Record):
    parts: ClassVar[Mapping[str, type[Record]]] = {"images": ImageUsage, "s3": S3Standing}
    images: tuple[ImageUsage, ...] = ()
    layers: int = 0
    blobs: int = 0
    reclaimable: int = 0
    free: int = 0
    disk: int = 0
    s3: tuple[S3Standing, ...] = ()


class Piece(Record):
    """`kind`: image, packed (a compressed layer) or orphan."""

    kind: str
    name: str
    size: int = 0
    why: str = ""


class Reclaimed(Record):
    parts: ClassVar[Mapping[str, type[Record]]] = {"pieces": Piece}
    pieces: tuple[Piece, ...] = ()
    bytes: int = 0
    dry_run: bool = False


class Origin(Record):
    """A step of an image's history; without a digest it made no layer."""

    created: str = ""
    by: str = ""
    comment: str = ""
    digest: str = ""
    size: int = 0


class Trust(Record):
    """Whether an image may run, by which policy (`match`, `require`, `file`, `line`, `keys`), by which signature."""

    reference: str
    digest: str = ""
    local: bool = False
    allowed: bool = False
    reason: str = ""
    policy: Mapping[str, Any] | None = None
    verified: Mapping[str, Any] | None = None


class Pushed(Record):
    """Where an image is now. `sent`: bytes that went over the wire; `there` and `mounted`: blobs that need not.

    `platform` went; `left` are the others of the index it came from, which are not kept here.
    """

    reference: str
    digest: str = ""
    sent: int = 0
    there: int = 0
    mounted: int = 0
    platform: str = ""
    left: tuple[str, ...] = ()


class Login(Record):
    registry: str
    username: str = ""


class Runtime(Record):
    name: str
    ok: bool = True
    engine: str = ""
    reason: str = ""
    fix: str = ""
    selected: bool = False


class Revision(Record):
    """A kept revision: current, updating, good, failed, rolled back or superseded."""

    revision: int
    status: str = ""
    at: str | None = None
    what: str = ""
    reason: str = ""


class Waiting(Record):
    """What a replica (0: each of them) waits for; `until` is when that is over by itself."""

    replica: int
    reason: str = ""
    until: str | None = None


class ProxyRoute(Record):
    """One route of the proxy. `addresses` is `("*",)` for a public endpoint; `host` None is any."""

    deployment: str
    service: str
    endpoint: str
    listener: str = ""
    addresses: tuple[str, ...] = ()
    port: int = 0
    mode: str = "http"
    host: str | None = None
    path: str = "/"
    servers: int = 0
    certificates: tuple[str, ...] = ()


class ProxyBackend(Record):
    """An endpoint as the proxy sees it. A server has id, address, port, weight, state, current, total and errors."""

    deployment: str
    service: str
    endpoint: str
    mode: str = "http"
    balance: str = "round_robin"
    servers: tuple[Mapping[str, Any], ...] = ()  # Any: JSON values
    requests: int = 0
    rate: int = 0
    responses: Mapping[str, int] = {}
    queued: int = 0


class Certificate(Record):
    """A certificate of https endpoints: valid, pending, failed, failing, expiring, expired or unused.

    `users` are `DEPLOYMENT/SERVICE/ENDPOINT`s. `chain` is PEM, and only there when one was asked for.
    """

    name: str
    state: str = "pending"
    source: str | None = None
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    issuer: str = ""
    authority: str = ""
    serial: str = ""
    not_before: str | None = None
    not_after: str | None = None
    issued_at: str | None = None
    renew_at: str | None = None
    ordering: bool = False
    asked: bool = False
    error: str = ""
    failures: int = 0
    tried_at: str | None = None
    next_try: str | None = None
    note: str = ""
    advice: str = ""
    unused_since: str | None = None
    chain: str = ""


class Status(Record):
    """The daemon itself."""

    parts: ClassVar[Mapping[str, type[Record]]] = {"s3": S3Standing}
    version: str
    pid: int = 0
    data_dir: str = ""
    socket: str = ""
    bind: str | None = None
    uptime_secs: float = 0
    node: str = ""
    runtime: str = ""
    rootfs: str = ""
    deployments: int = 0
    instances: Mapping[str, int] = {}
    rss_bytes: int = 0
    failing: Mapping[str, str] = {}
    certificates: Mapping[str, Any] = {}  # Any: JSON values
    s3: tuple[S3Standing, ...] = ()
