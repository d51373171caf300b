"""A deployment as written, in one normal form: the reference's keys, every unit a number, every default visible.

Both written forms load to these. They serialise back (`mode="json"`) to what a person would write: `dump` stands on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from zlayer.model.base import Document
from zlayer.model.container import PullPolicy, SourcePolicy
from zlayer.model.units import Cpu, Seconds
from zlayer.spec.nodes import Source
from zlayer.spec.traffic import EndpointSpec, NetworkSpec, PortSpec, UpdateSpec
from zlayer.spec.written import Duration, Memory


class ImageSpec(Document):
    name: str
    pull_policy: PullPolicy = "if_not_present"
    source_policy: SourcePolicy = "local_first"


class CommandSpec(Document):
    entrypoint: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    workdir: str | None = None


class ResourcesSpec(Document):
    """`memory_swap` is memory plus swap; -1 is without end."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    memory_swap: Memory | None = None
    memory_reservation: Memory | None = None
    memory_swappiness: int | None = None
    pids_limit: int | None = None
    cpuset: str | None = None
    cpu_shares: int | None = None
    blkio_weight: int | None = None
    oom_score_adj: int | None = None
    oom_kill_disable: bool = False


class AdaptiveScale(Document):
    mode: Literal["adaptive"] = "adaptive"
    min: int = 1
    max: int = 10
    cooldown: Duration = Seconds(30)


class FixedScale(Document):
    mode: Literal["fixed"] = "fixed"
    replicas: int


class ManualScale(Document):
    mode: Literal["manual"] = "manual"


Scale = AdaptiveScale | FixedScale | ManualScale


class DependencySpec(Document):
    service: str
    condition: Literal["started", "healthy", "ready"] = "healthy"
    timeout: Duration = Seconds(300)
    on_timeout: Literal["fail", "warn", "continue"] = "fail"


class TcpCheckSpec(Document):
    """Port 0 is the service's first endpoint that is not UDP."""

    type: Literal["tcp"] = "tcp"
    port: int = 0


class HttpCheckSpec(Document):
    type: Literal["http"] = "http"
    url: str
    expect_status: int = 200


class CommandCheckSpec(Document):
    type: Literal["command"] = "command"
    command: str


class HealthSpec(Document):
    start_grace: Duration = Seconds(5)
    interval: Duration = Seconds(10)
    timeout: Duration = Seconds(5)
    retries: int = 3
    check: TcpCheckSpec | HttpCheckSpec | CommandCheckSpec = Field(TcpCheckSpec(), discriminator="type")


class BindSpec(Document):
    type: Literal["bind"] = "bind"
    source: str
    target: str
    readonly: bool = False


class NamedSpec(Document):
    type: Literal["named"] = "named"
    name: str
    target: str
    readonly: bool = False
    tier: Literal["local"] = "local"


class AnonymousSpec(Document):
    type: Literal["anonymous"] = "anonymous"
    target: str
    tier: Literal["local"] = "local"


class TmpfsSpec(Document):
    type: Literal["tmpfs"] = "tmpfs"
    target: str
    size: Memory | None = None
    mode: int | None = None


StorageSpec = BindSpec | NamedSpec | AnonymousSpec | TmpfsSpec


class DeviceSpec(Document):
    path: str
    read: bool = True
    write: bool = True
    mknod: bool = False


class UlimitSpec(Document):
    """-1 is without end."""

    soft: int
    hard: int


class RestartSpec(Document):
    kind: Literal["no", "always", "unless_stopped", "on_failure"] = "always"
    max_attempts: int | None = None


class PlatformSpec(Document):
    os: Literal["linux"] = "linux"
    arch: Literal["amd64", "arm64"] | None = None


class LogsSpec(Document):
    destination: Literal["disk"] = "disk"
    max_size_bytes: int = 100 * 1024 * 1024


class PanicSpec(Document):
    action: Literal["restart"] = "restart"


class ErrorsSpec(Document):
    on_panic: PanicSpec = PanicSpec()


class LifecycleSpec(Document):
    delete_on_exit: Literal[False] = False


class ServiceSpec(Document):
    """One service. `health` None is the default rule: a TCP check of the first endpoint, if there is one."""

    rtype: Literal["service"] = "service"
    image: ImageSpec
    command: CommandSpec = CommandSpec()
    env: dict[str, str] = Field(default_factory=dict)
    resources: ResourcesSpec = ResourcesSpec()
    endpoints: tuple[EndpointSpec, ...] = ()
    expose: tuple[str, ...] = ()
    """Documentation only, as in the reference: ports the image listens on."""
    port_mappings: tuple[PortSpec, ...] = ()
    network: NetworkSpec = NetworkSpec()
    update: UpdateSpec = UpdateSpec()
    scale: Scale = Field(AdaptiveScale(), discriminator="mode")
    depends: tuple[DependencySpec, ...] = ()
    health: HealthSpec | None = None
    errors: ErrorsSpec = ErrorsSpec()
    lifecycle: LifecycleSpec = LifecycleSpec()
    logs: LogsSpec = LogsSpec()
    storage: tuple[Annotated[StorageSpec, Field(discriminator="type")], ...] = ()
    devices: tuple[DeviceSpec, ...] = ()
    capabilities: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    platform: PlatformSpec | None = None
    hostname: str | None = None
    dns: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    restart_policy: RestartSpec = RestartSpec()
    labels: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    stop_signal: str | None = None
    stop_grace_period: Duration = Seconds(10)
    sysctls: dict[str, str] = Field(default_factory=dict)
    ulimits: dict[str, UlimitSpec] = Field(default_factory=dict)
    security_opt: tuple[str, ...] = ()
    pid_mode: Literal["host"] | None = None
    ipc_mode: Literal["host", "private"] | None = None
    network_mode: str = "bridge"
    """`bridge`, `host`, `none` or `container:ID`; the ID is a service of the file, else an instance."""
    extra_groups: tuple[str, ...] = ()
    read_only_root_fs: bool = False
    tty: bool = False
    stdin_open: bool = False


class DeploymentSpec(Document):
    """A whole file. Equality is of what it says, not of where or in which form it was written."""

    version: Literal["v1"] = "v1"
    deployment: str
    services: dict[str, ServiceSpec] = Field(default_factory=dict)
    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """Where it was written, for faults found later (a missing host variable when it is compiled)."""
        return self._source

    def written_in(self, source: Source) -> DeploymentSpec:
        self._source = source
        return self
