"""What requests carry. Unknown fields are refused; sizes are bytes, times are seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zlayer.image.parcel_contract import Parcel, Part
from zlayer.model.base import Document
from zlayer.model.container import BindMount, ContainerSpec, PullPolicy, Resources, TmpfsMount, VolumeMount
from zlayer.model.units import Bytes, Cpu, Seconds

Count = Annotated[int, Field(ge=0, le=10_000, strict=True)]
Rows = Annotated[int, Field(ge=1, le=10_000)]
DIGEST = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
YEAR = 365 * 86_400.0
_SURROGATE = re.compile("[\ud800-\udfff]")


class Body(Document):
    """A request's own document. Half a surrogate pair, which JSON can carry and UTF-8 cannot, is refused anywhere."""

    @model_validator(mode="before")
    @classmethod
    def _is_unicode(cls, value: Any) -> Any:  # Any: whatever JSON the client sent
        for text in _texts(value):
            if _SURROGATE.search(text):
                raise ValueError("the text has half of a surrogate pair")
        return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            if not value.isascii():
                yield value
        case dict():
            for key, inner in value.items():
                yield from _texts(key)
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


class SpecBody(Body):
    """A deployment as its author wrote it. `file` is its name, for error messages."""

    spec: str
    file: str = "deployment"


class RollbackBody(Body):
    """`to`: the revision to go back to, else the last good one. `revision`: the one a plan was made on."""

    to: int | None = Field(None, ge=1)
    revision: int | None = Field(None, ge=1)


class PlanBody(SpecBody):
    """`pull` replaces the pull policy of every service."""

    pull: PullPolicy | None = None


class DeployBody(PlanBody):
    """`revision`: the deployment revision this was planned on (0: it did not exist); another one is a conflict."""

    revision: int | None = None


class StopBody(Body):
    """One service, or all without `service`. `grace` replaces the time between the stop signal and the kill."""

    service: str | None = None
    grace: Annotated[Seconds, Field(ge=0, le=YEAR)] | None = None


class StartBody(Body):
    service: str | None = None


class ScaleBody(Body):
    """Wanted replicas by service name."""

    services: Annotated[dict[str, Count], Field(min_length=1)]


class ReplicasBody(Body):
    replicas: Count


class ExecBody(Body):
    """A command to run inside a running replica; `slot` chooses which, else the lowest that runs."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    env: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    slot: Annotated[int, Field(ge=1)] | None = None


class ExecStart(ExecBody):
    """The first message of an exec WebSocket."""

    tty: bool = False
    stdin: bool = False
    rows: Rows | None = None
    columns: Rows | None = None


class RunMount(Document):
    """`bind` needs an absolute `source`; a `volume` without source is anonymous; `tmpfs` has no source.

    Without `type`: a source that starts with `/` is a bind, any other names a volume.
    """

    target: str
    source: str | None = None
    readonly: bool = False
    type: Literal["bind", "volume", "tmpfs"] | None = None

    def mount(self) -> BindMount | VolumeMount | TmpfsMount:
        kind = self.type or ("bind" if (self.source or "").startswith("/") else "volume")
        if kind == "tmpfs":
            return TmpfsMount(target=self.target)
        if kind == "bind":
            return BindMount(source=self.source or "", target=self.target, readonly=self.readonly)
        return VolumeMount(name=self.source, target=self.target, readonly=self.readonly)


class RunBody(Body):
    """A one-off instance. `command` replaces the image's Cmd, `entrypoint` its Entrypoint too.

    `rm`: nothing of it is left once it has ended. `stdin` and `tty` need the WebSocket. `memory` in bytes, `cpu` in
    cores. `detach` (HTTP only): the stream ends once the instance is accepted.
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    mounts: tuple[RunMount, ...] = ()
    memory: Annotated[Bytes, Field(gt=0, lt=2**63)] | None = None
    cpu: Annotated[Cpu, Field(gt=0, le=10_000)] | None = None
    name: str | None = None
    hostname: str | None = None
    rm: bool = False
    detach: bool = False
    tty: bool = False
    stdin: bool = False
    rows: Rows | None = None
    columns: Rows | None = None
    workdir: str | None = None
    user: str | None = None
    pull: PullPolicy = "if_not_present"
    platform: str | None = None
    network: Literal["bridge", "host", "none"] = "bridge"
    privileged: bool = False
    read_only: bool = False

    def container(self) -> ContainerSpec:
        """The container this asks for. The image is pulled before, so the agent's own pull finds it local."""
        return ContainerSpec(
            image=self.image,
            pull_policy="if_not_present",
            platform=self.platform,
            entrypoint=self.entrypoint,
            args=self.command or None,
            workdir=self.workdir,
            env=self.env,
            user=self.user,
            hostname=self.hostname,
            resources=Resources(cpu=self.cpu, memory=self.memory),
            mounts=tuple(mount.mount() for mount in self.mounts),
            privileged=self.privileged,
            read_only_root=self.read_only,
            tty=self.tty,
            stdin_open=self.stdin,
            network_mode=self.network,
        )


class PruneBody(Body):
    """`older_than` in seconds."""

    unused: bool = False
    older_than: Seconds = Field(default=Seconds(0), ge=0)
    dry_run: bool = False


class VerifyBody(Body):
    """No `references`: all that is kept."""

    references: tuple[str, ...] = ()
    repair: bool = False


class PushBody(Body):
    reference: str
    target: str = ""


class PartBody(Body):
    """A blob: its digest, and how long it is."""

    digest: Annotated[str, Field(pattern=DIGEST)]
    size: Annotated[Bytes, Field(ge=0, lt=2**63)]


class ParcelBody(Body):
    """An image of another node: its name, its digest (and that of the index it was found by), and all it stands on."""

    reference: Annotated[str, Field(max_length=4096)]
    digest: Annotated[str, Field(pattern=DIGEST)]
    index_digest: Annotated[str, Field(pattern=f"{DIGEST}|^$")] = ""
    platform: Annotated[str, Field(max_length=256)] = ""
    parts: Annotated[tuple[PartBody, ...], Field(min_length=1, max_length=4096)]

    def parcel(self) -> Parcel:
        parts = tuple(Part(one.digest, one.size) for one in self.parts)
        return Parcel(self.reference, self.digest, self.index_digest, self.platform, parts)


class TagBody(Body):
    source: str
    target: str


class LoginBody(Body):
    registry: str
    username: str
    password: str = Field(repr=False)


class PullBody(Body):
    """`limit_rate` in bytes a second, 0 for no limit; None: as config.toml says."""

    reference: str
    policy: PullPolicy = "always"
    platform: str | None = None
    limit_rate: Annotated[Bytes, Field(ge=0, lt=2**63)] | None = None
