"""What answers look like, for the OpenAPI document; a test holds real answers against them.

Times are RFC 3339 in UTC. Routes build the JSON themselves: validating our own output costs more than making it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemItem(Answer):
    """One fault in an input. `line` and `column` count from 1; 0 means no position."""

    message: str
    path: str
    file: str
    line: int
    column: int
    suggestion: str
    kind: str
    pointer: str


class ProblemDocument(Answer):
    """RFC 9457. `code` names the error class, `hint` says what to do, `trace_id` is the X-Request-ID."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str = ""
    hint: str = ""
    errors: list[ProblemItem] = []
    retry_after: float | None = None
    trace_id: str = ""


class Alive(Answer):
    status: Literal["ok", "starting", "stopping"]
    version: str
    uptime_secs: float
    runtime_name: str


class InstanceCounts(Answer):
    running: int
    total: int


class CertificateTrouble(Answer):
    """One that somebody should look at: failed, failing, expiring or expired. `error` is of the last try."""

    name: str
    state: str
    not_after: str | None
    error: str


class CertificateSummary(Answer):
    """Of certificates in use. The one that ends first is null where none is served."""

    total: int
    first_to_end: str | None
    not_after: str | None
    trouble: list[CertificateTrouble]


class S3Standing(Answer):
    """A bucket images are shared by. `state`: ok, failing, untried. `held_up`: why the blobs that wait do not go up."""

    name: str
    endpoint: str
    state: str
    why: str
    since: str | None
    waiting: int
    waiting_bytes: int
    held_up: str


class Status(Answer):
    """`bind` is where TCP listens, `off`, or why it does not."""

    version: str
    pid: int
    data_dir: str
    socket: str
    bind: str
    uptime_secs: float
    node: str
    runtime: str
    rootfs: str
    """The driver that makes root file systems: overlay, fuse-overlayfs, copy or erofs."""
    deployments: int
    instances: InstanceCounts
    rss_bytes: int
    failing: dict[str, str]
    """Parts of the data plane (routes, names, network) that are not as wanted, with the reason."""
    certificates: CertificateSummary
    s3: list[S3Standing]


class Verdict(Answer):
    valid: bool
    errors: list[ProblemItem]


class PlannedChange(Answer):
    service: str
    slot: int
    action: Literal["create", "replace", "remove", "keep", "start", "stop"]
    instance: str | None
    reason: str


class Plan(Answer):
    """`summary` counts the changes by action."""

    deployment: str
    revision: int
    changes: list[PlannedChange]
    summary: dict[str, int]


class Accepted(Answer):
    """The wish is durable; `changed` False means it was so already."""

    deployment: str
    revision: int
    changed: bool


class Removed(Answer):
    """The wish is durable; the instance is gone once it is no longer listed."""

    instance: str


class ExecResult(Answer):
    """`exit_code` is 128 + n for a signal, null when unknown. Output is UTF-8, other bytes replaced."""

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool


class ImageItem(Answer):
    """`size` is the sum of the compressed layers in bytes."""

    reference: str
    digest: str
    index_digest: str
    platform: str
    size: int
    layers: int
    pulled_at: str


class ImageConfig(Answer):
    entrypoint: list[str]
    cmd: list[str]
    env: dict[str, str]
    workdir: str
    user: str
    stop_signal: str
    exposed_ports: list[str]
    volumes: list[str]
    labels: dict[str, str]


class ImageDetails(ImageItem):
    diff_ids: list[str]
    config: ImageConfig


class ImageUsage(Answer):
    """Bytes on disk: in all, what only it stands on, what it has in common with others."""

    reference: str
    size: int
    alone: int
    shared: int
    in_use: bool
    used_at: str


class DiskUsage(Answer):
    images: list[ImageUsage]
    layers: int
    blobs: int
    reclaimable: int
    free: int
    disk: int
    s3: list[S3Standing]


class PieceItem(Answer):
    """`kind`: image, packed (a compressed layer) or orphan."""

    kind: str
    name: str
    size: int
    why: str


class Reclaimed(Answer):
    pieces: list[PieceItem]
    bytes: int
    dry_run: bool


class ReferrerItem(Answer):
    """A manifest that belongs to `subject`; `type` is its artifact type."""

    digest: str
    type: str
    media_type: str
    size: int
    subject: str
    annotations: dict[str, str]


class AttachedItem(Answer):
    """`listed`: `api` (by the registry) or `tag` (in the fallback tag)."""

    digest: str
    subject: str
    listed: str


class SbomItem(Answer):
    digest: str
    type: str
    text: str


class OriginItem(Answer):
    created: str
    by: str
    comment: str
    digest: str
    size: int


class TrustIdentity(Answer):
    """Who may sign without a key; `subject` may have `*`."""

    issuer: str
    subject: str


class TrustPolicy(Answer):
    """An `[[image.policy]]` and where it stands; `keys` are fingerprints by file."""

    match: str
    require: str
    file: str
    line: int
    keys: dict[str, str]
    signed_as: list[str]
    identities: list[TrustIdentity]
    trusted_root: str


class TrustVerified(Answer):
    """Which digest which key, or else `subject`, signed. `kind`: simple-signing or bundle; `signed_at`: RFC 3339."""

    kind: str
    digest: str
    key: str
    key_file: str
    found: str
    issuer: str
    subject: str
    log: str
    log_index: int
    signed_at: str


class TrustReport(Answer):
    reference: str
    digest: str
    local: bool
    allowed: bool
    reason: str
    policy: TrustPolicy | None
    verified: TrustVerified | None


class Login(Answer):
    registry: str
    username: str


class Deleted(Answer):
    deleted: list[str]


class Stats(Answer):
    """Counters since start, levels now; sizes in bytes, `memory_limit` and `pids_limit` 0 mean none."""

    at: str
    cpu_seconds: float
    cpu_throttled_seconds: float
    memory: int
    memory_peak: int
    memory_limit: int
    oom_kills: int
    pids: int
    pids_limit: int
    io_read: int
    io_written: int
    net_received: int
    net_sent: int


class LogItem(Answer):
    """A line of an NDJSON log stream."""

    at: str
    stream: Literal["stdout", "stderr"]
    instance: str
    service: str
    slot: int
    data: str
    partial: bool


class RunItem(Answer):
    """A line of the NDJSON stream of POST /run. `data` is base64."""

    event: Literal["pulling", "created", "output", "exited", "removed"]
    id: str = ""
    stream: Literal["stdout", "stderr"] = "stdout"
    data: str = ""
    code: int | None = None
    oom: bool = False
    reason: str = ""
    digest: str = ""
    phase: str = ""
    done: int = 0
    total: int = 0


class RuntimeItem(Answer):
    """`ok`: it really runs containers here; else `reason` says why not and `fix` what to do."""

    name: str
    ok: bool
    engine: str
    reason: str
    fix: str
    selected: bool


class NodeItem(Answer):
    """A machine. `subnet` and `subnet6` are what its containers' addresses are from, `memory` in bytes."""

    schema_version: int
    id: str
    subnet: str
    subnet6: str
    platform: str
    cpus: float
    memory: int
    runtime: str
    ready: bool
    reason: str
    seen_at: str


class EventItem(Answer):
    """Something that happened; `kind` is dotted, such as `instance.exited`. Empty where it does not apply."""

    at: str
    kind: str
    deployment: str
    service: str
    instance: str
    node: str
    message: str
