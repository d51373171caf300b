"""An instance: one container that is wanted (written by controllers) and what became of it (written by agents).

Two documents under two keys, so each field has one writer and neither write can conflict with the other.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from pydantic import Field

from zlayer.model.base import Document
from zlayer.model.container import ContainerSpec
from zlayer.model.endpoint import Endpoint, PublishedPort, Update
from zlayer.model.rollout import RevisionNote, Rollout
from zlayer.model.units import Seconds, Timestamp

ONE_OFF = "_run"
"""The deployment name of `zlayer run` instances. No user deployment can have it (names start alphanumeric)."""

DesiredState = Literal["running", "stopped", "removed"]
Health = Literal["none", "starting", "healthy", "unhealthy"]


class State(IntEnum):
    """Forward only: a later state is never followed by an earlier one. A restart is a new instance."""

    PENDING = 0
    ASSIGNED = 1
    PREPARING = 2
    CREATED = 3
    INITIALIZING = 4
    RUNNING = 5
    READY = 6
    STOPPING = 7
    EXITED = 8
    FAILED = 9
    LOST = 10

    @property
    def ended(self) -> bool:
        return self >= State.EXITED

    @property
    def public(self) -> str:
        """The state as users read it (the guide's six, plus ready and lost), lower case."""
        return _PUBLIC[self]


_PUBLIC = {
    State.PENDING: "pending",
    State.ASSIGNED: "pending",
    State.PREPARING: "pending",
    State.CREATED: "initializing",
    State.INITIALIZING: "initializing",
    State.RUNNING: "running",
    State.READY: "running",
    State.STOPPING: "stopping",
    State.EXITED: "exited",
    State.FAILED: "failed",
    State.LOST: "lost",
}


class Instance(Document):
    """What is wanted of one container. Key `/instances/{id}`. Written by controllers only.

    `running`: bring it up and keep watching. `stopped`: end it, free its resources, keep log and status.
    `removed`: end it, free everything, then the agent deletes the status document and the controller this one.
    """

    schema_version: int = 1
    id: str
    """`{deployment}-{service}-{slot}-{suffix}`, at most 200 characters, safe as a file name."""
    deployment: str
    service: str
    slot: int
    """Replica number, from 1. Successive instances of one replica share it."""
    revision: int
    """Deployment revision that asked for this instance."""
    spec: ContainerSpec
    digest: str
    """`spec.digest()`, kept so that a plan over thousands of instances hashes nothing."""
    desired: DesiredState = "running"
    node: str | None = None
    unplaced: str = ""
    """Why it has no node yet, for people; empty once it has."""
    address: str | None = None
    """IPv4 in a block of its deployment's network, chosen with the node; None for other than bridge networking."""
    shares: str | None = None
    """Id of the instance whose network namespace it shares, chosen with the node; `address` is then the other's."""
    attempt: int = 0
    """How many instances came before it in this slot because one ended: the restart count."""
    failures: int = 0
    """How many of those ended before they were stable, in a row up to now: what back-off grows with."""
    created_at: Timestamp = Timestamp(0)
    stop_grace: Seconds | None = None
    """Overrides the spec's once it is unwanted. Lowered while it stops: the new one counts from then."""
    remove_on_exit: bool = False
    """`run --rm`: the agent takes an ended container apart at once; the controller then removes the record."""
    await_attach: bool = False
    """`run -it`: created but not started until a client has attached, so that it misses nothing."""
    held: bool = False
    """A replacement on trial: it gets no traffic, ready or not, until controllers admit it."""
    admitted_at: Timestamp | None = None
    """When it was let go from `held`; None for one that never was."""


class InstanceStatus(Document):
    """What an agent saw of an instance. Key `/status/{id}`. Written by the agent of its node only."""

    schema_version: int = 1
    id: str
    node: str
    state: State = State.PENDING
    health: Health = "none"
    reason: str = ""
    """One line for a person: why it waits, failed or ended. Empty when all is well."""
    pid: int | None = None
    address: str | None = None
    image_digest: str | None = None
    exit_code: int | None = None
    """128 + n for a signal; None with an ended state means unknown (its monitor was killed)."""
    oom: bool = False
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ready_at: Timestamp | None = None
    """Since when it has been ready without a break."""
    finished_at: Timestamp | None = None
    released: bool = False
    """True once mount, network, cgroup and processes are gone: its address may be used again."""
    gone: bool = False
    """True once its directory is gone too: nothing of it is left on the node, both documents may be deleted."""
    runtime: str = ""


class Deployment(Document):
    """What a user asked for. Key `/deployments/{name}`. Written by the API on behalf of users."""

    schema_version: int = 1
    name: str
    revision: int
    services: dict[str, Service]
    desired: Literal["running", "stopped", "removed"] = "running"
    stop_grace: Seconds | None = None
    """What the user who stopped it gave, until it is started again."""
    source: str = ""
    """The YAML text as sent, for `GET …/spec`."""
    created_at: Timestamp = Timestamp(0)
    updated_at: Timestamp = Timestamp(0)
    asked_at: Timestamp = Timestamp(0)
    """When an `up` last asked for what was already wanted: what had failed by then is tried again at once."""
    paused: bool = False
    """`zlayer pause`: nothing is replaced, admitted or judged until `resume`, or the next `up`."""
    resumes: int = 0
    """How often it was resumed: what ends a canary's pause without an end."""
    resumed_at: Timestamp = Timestamp(0)
    rolled_back_from: int = 0
    """The revision this one undid because it failed; 0 when somebody asked for this one."""
    reason: str = ""
    """Why this revision is, where nobody sent a file for it."""
    rollout: Rollout = Rollout()
    """Written by controllers, all else by users or on their behalf."""


class Revision(Document):
    """What a deployment once was. Key `/revisions/{name}/{number}`; the newest are kept, and the last good one.

    Written with the wish that made it; `note` is amended by controllers when they find it good, or failed.
    """

    schema_version: int = 2
    name: str
    revision: int
    services: dict[str, Service]
    source: str = ""
    at: Timestamp = Timestamp(0)
    note: RevisionNote = RevisionNote()


class Dependency(Document):
    """`condition` of another service of the deployment that must hold before this one's instances are made."""

    service: str
    condition: Literal["started", "healthy", "ready"] = "healthy"
    timeout: float = 300.0
    on_timeout: Literal["fail", "warn", "continue"] = "fail"


class Service(Document):
    """One service, compiled: a container and how many of it."""

    container: ContainerSpec
    replicas: int = 1
    scale_mode: Literal["fixed", "adaptive", "manual"] = "adaptive"
    min_replicas: int = 1
    max_replicas: int = 10
    stopped: bool = False
    """`zlayer stop -s SERVICE`: its instances are stopped and kept until the next `up`."""
    depends: tuple[Dependency, ...] = Field(default=())
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    reach: tuple[str, ...] = ()
    """Other deployments whose services its containers may speak to."""
    update: Update = Update()
    image_digest: str = ""
    """After a roll-back, the manifest its image was then: new instances run that one, though a tag has moved. No part
    of the container's digest, so replicas that run on are not touched."""


Deployment.model_rebuild()
Revision.model_rebuild()


class Node(Document):
    """A machine that runs instances. Key `/nodes/{id}`. Written by its agent, under a lease when clustered."""

    schema_version: int = 1
    id: str
    subnet: str
    """The pool this node's containers get their IPv4 addresses from, in CIDR form; deployments get blocks of it."""
    subnet6: str = ""
    """The RFC 4193 /48 their IPv6 addresses are in; empty where the node has no IPv6."""
    platform: str
    """`os/arch[/variant]`."""
    cpus: float
    memory: int
    runtime: str
    """The runtime `auto` chose, e.g. `oci:runc 1.1.5`."""
    ready: bool = True
    reason: str = ""
    seen_at: Timestamp = Timestamp(0)


class Event(Document):
    """Something a user may want to know. Key `/events/{time:020d}-{n}`; the newest few thousand are kept."""

    schema_version: int = 1
    at: Timestamp
    kind: str
    """Dotted, lower case: `instance.ready`, `instance.exited`, `deployment.updated`, `image.pulled`…"""
    deployment: str = ""
    service: str = ""
    instance: str = ""
    node: str = ""
    message: str = ""
