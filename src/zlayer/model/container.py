"""What one container is, before anyone decides where and by what it runs.

`ContainerSpec` is the compiled form of a service: every default filled in, every unit a number. Its `digest`
decides whether an `up` touches a replica: equal digests mean the same container.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import Annotated, Literal

from pydantic import Field

from zlayer.model.base import Document, Port, Tagged
from zlayer.model.units import Bytes, Cpu, Seconds

PullPolicy = Literal["always", "if_not_present", "newer", "never"]
SourcePolicy = Literal["local_first", "s3_first", "remote_only", "local_only"]


class Resources(Document):
    """Upper bounds. None means unlimited. `memory_swap` is memory plus swap, as in the OCI runtime spec."""

    cpu: Cpu | None = None
    memory: Bytes | None = None
    memory_swap: Bytes | None = None
    memory_reservation: Bytes | None = None
    memory_swappiness: int | None = None
    pids: int | None = None
    cpuset: str | None = None
    cpu_shares: int | None = None
    blkio_weight: int | None = None
    oom_score_adj: int | None = None
    oom_kill_disable: bool = False


class BindMount(Tagged):
    type: Literal["bind"] = "bind"
    source: str
    target: str
    readonly: bool = False


class VolumeMount(Tagged):
    """A directory the node keeps: named ones outlive the deployment, anonymous ones end with their instance."""

    type: Literal["volume"] = "volume"
    name: str | None
    target: str
    readonly: bool = False


class TmpfsMount(Tagged):
    type: Literal["tmpfs"] = "tmpfs"
    target: str
    size: Bytes | None = None
    mode: int | None = None


Mount = Annotated[BindMount | VolumeMount | TmpfsMount, Field(discriminator="type")]


class Device(Document):
    """A host device node and the access to it: letters of `rwm` as in the OCI runtime spec."""

    path: str
    access: str = "rw"


class Ulimit(Document):
    name: str
    soft: int
    hard: int


class TcpCheck(Tagged):
    type: Literal["tcp"] = "tcp"
    port: Port


class HttpCheck(Tagged):
    """GET `path` on `port` of the instance; `url_host` is sent as Host when given."""

    type: Literal["http"] = "http"
    port: Port
    path: str = "/"
    expect_status: int = 200
    host: str | None = None


class CommandCheck(Tagged):
    """Run by `/bin/sh -c` inside the container; exit code 0 is healthy."""

    type: Literal["command"] = "command"
    command: str


class Health(Document):
    """Ready after the first success; unhealthy after `retries` failures in a row once `start_grace` is over."""

    check: TcpCheck | HttpCheck | CommandCheck = Field(discriminator="type")
    start_grace: Seconds = Seconds(5)
    interval: Seconds = Seconds(10)
    timeout: Seconds = Seconds(5)
    retries: int = 3


class Restart(Document):
    """When an instance that ended is followed by a new one in its slot. `max_attempts` None is without end."""

    kind: Literal["no", "always", "unless_stopped", "on_failure"] = "always"
    max_attempts: int | None = None


class ContainerSpec(Document):
    """One container. Fields mirror section 4 of the deployment reference, compiled."""

    image: str
    pull_policy: PullPolicy = "if_not_present"
    source_policy: SourcePolicy = "local_first"
    pin: str | None = None
    """Manifest digest the deploy resolved (`always`, `newer`): a moved tag changes it, so replicas are replaced."""
    platform: str | None = None
    """`os/arch[/variant]`; None is the node's own."""
    entrypoint: tuple[str, ...] | None = None
    """None keeps the image's; given, the image's Cmd is dropped too (OCI image-spec, conversion to runtime)."""
    args: tuple[str, ...] | None = None
    workdir: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    extra_groups: tuple[str, ...] = ()
    hostname: str | None = None
    dns: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    resources: Resources = Resources()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: Literal["default", "unconfined"] = "default"
    sysctls: dict[str, str] = Field(default_factory=dict)
    ulimits: tuple[Ulimit, ...] = ()
    read_only_root: bool = False
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str | None = None
    """`SIGTERM`-style name; None keeps the image's, else SIGTERM."""
    stop_grace: Seconds = Seconds(10)
    network_mode: str = Field("bridge", pattern=r"^(bridge|host|none|container:.+)$")
    """`container:ID` shares the network of another: of the same replica of the service ID of its own deployment where
    there is one of that name, else of the instance ID."""
    pid_mode: Literal["private", "host"] = "private"
    ipc_mode: Literal["private", "host"] = "private"
    health: Health | None = None
    """None: ready as soon as it runs."""
    restart: Restart = Restart()
    log_max_size: Bytes = Bytes(100 * 1024 * 1024)
    labels: dict[str, str] = Field(default_factory=dict)

    def digest(self) -> str:
        """Hex sha256 of the canonical JSON: equal for equal containers, in every process and version run.

        When and where the image is asked for is no part of it: by another policy it is the same container.
        """
        known = _DIGESTS.get(id(self))
        if known is not None and known[0]() is self:
            return known[1]
        text = self.model_dump_json(exclude_defaults=True, exclude={"pull_policy", "source_policy"})
        made = hashlib.sha256(text.encode()).hexdigest()
        key = id(self)
        _DIGESTS[key] = (weakref.ref(self, lambda _: _DIGESTS.pop(key, None)), made)
        return made


_DIGESTS: dict[int, tuple[weakref.ref[ContainerSpec], str]] = {}
"""Of the containers in memory, by `id`: every look at a deployment asks for all of them. In the value itself a copy
with changes would have it too."""
