"""A `DeploymentSpec` made into what controllers work on: every default filled in, every reference resolved."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zlayer.model import container as c
from zlayer.model.endpoint import Endpoint
from zlayer.model.errors import Invalid
from zlayer.model.instance import Dependency, Service
from zlayer.model.units import Bytes, Seconds
from zlayer.spec import compile_traffic, envrefs
from zlayer.spec import model as m
from zlayer.spec.health import target_of
from zlayer.spec.network import shares
from zlayer.spec.nodes import Path as Place
from zlayer.spec.nodes import shorten
from zlayer.spec.report import Found, Report
from zlayer.spec.scale import MAX_REPLICAS


@dataclass(frozen=True, slots=True)
class Compiled:
    """Deployment name and its services in written order."""

    name: str
    services: dict[str, Service]


def compile_deployment(spec: m.DeploymentSpec, *, environ: Mapping[str, str], base: Path | None = None) -> Compiled:
    """Services ready to store. Deterministic: equal specs, environments and bases give equal digests.

    `environ` answers `$E:VAR`; `base` is the directory relative bind sources start from (the spec file's). Raises
    `Invalid` with every variable that is missing and every relative source when there is no `base`.
    """
    report = Report(spec.source.file)
    scope = _Scope(environ, base, Found(report, spec.source), frozenset(spec.services))
    services = {name: _service(service, scope, ("services", name)) for name, service in spec.services.items()}
    report.raise_if_any()
    return Compiled(spec.deployment, services)


def base_of(file: str) -> Path | None:
    """The directory a spec's relative bind sources start from: the file's, when its name is absolute."""
    return Path(file).parent if Path(file).is_absolute() else None


@dataclass(frozen=True, slots=True)
class _Scope:
    environ: Mapping[str, str]
    base: Path | None
    found: Found
    services: frozenset[str]

    def env(self, values: Mapping[str, str], place: Place) -> dict[str, str]:
        out: dict[str, str] = {}
        for key, text in values.items():
            try:
                out[key] = envrefs.resolve(text, self.environ)
            except Invalid as bad:
                fault = bad.problems[0]
                self.found.add((*place, key), fault.message, suggestion=fault.suggestion, kind=fault.kind)
        return out

    def source(self, text: str, place: Place) -> str:
        if text.startswith("/"):
            return posixpath.normpath(text)
        if self.base is None:
            message = f"the {place[-1]} {shorten(text)!r} is relative to no file: write the whole path"
            self.found.add(place, message, kind="InvalidPath")
            return text
        return posixpath.normpath(str(self.base.absolute() / text))


def _service(spec: m.ServiceSpec, scope: _Scope, place: Place) -> Service:
    replicas, low, high = _counts(spec.scale)
    return Service(
        container=_container(spec, scope, place),
        replicas=replicas,
        scale_mode=spec.scale.mode,
        min_replicas=low,
        max_replicas=high,
        depends=_depends(spec, scope),
        endpoints=_endpoints(spec, scope, place),
        ports=tuple(compile_traffic.port(port) for port in spec.port_mappings),
        reach=spec.network.reach,
        update=compile_traffic.update(spec.update),
    )


def _depends(spec: m.ServiceSpec, scope: _Scope) -> tuple[Dependency, ...]:
    """Whose network it shares must have started first, without being asked for."""
    made = tuple(
        Dependency(service=d.service, condition=d.condition, timeout=d.timeout, on_timeout=d.on_timeout)
        for d in spec.depends
    )
    home = shares(spec.network_mode)
    if home in scope.services and all(d.service != home for d in made):
        made = (*made, Dependency(service=home, condition="started"))
    return made


def _endpoints(spec: m.ServiceSpec, scope: _Scope, place: Place) -> tuple[Endpoint, ...]:
    def whole(i: int) -> compile_traffic.ResolvePath:
        return lambda text, key: scope.source(text, (*place, "endpoints", i, "tls", key))

    return tuple(compile_traffic.endpoint(e, whole(i)) for i, e in enumerate(spec.endpoints))


def _counts(scale: m.Scale) -> tuple[int, int, int]:
    """Initial, least and most replicas (behaviour reference 1.4; manual starts with 1)."""
    match scale:
        case m.FixedScale():
            return scale.replicas, scale.replicas, scale.replicas
        case m.AdaptiveScale():
            return scale.min, scale.min, scale.max
        case m.ManualScale():
            return 1, 0, MAX_REPLICAS


def _container(spec: m.ServiceSpec, scope: _Scope, place: Place) -> c.ContainerSpec:
    security = dict(option.replace("=", ":", 1).split(":", 1) for option in spec.security_opt)
    return c.ContainerSpec(
        image=spec.image.name,
        pull_policy=spec.image.pull_policy,
        source_policy=spec.image.source_policy,
        platform=f"{spec.platform.os}/{spec.platform.arch}" if spec.platform and spec.platform.arch else None,
        entrypoint=spec.command.entrypoint,
        args=spec.command.args,
        workdir=spec.command.workdir,
        env=scope.env(spec.env, (*place, "env")),
        user=spec.user,
        extra_groups=spec.extra_groups,
        hostname=spec.hostname,
        dns=spec.dns,
        extra_hosts=spec.extra_hosts,
        resources=_resources(spec.resources),
        mounts=tuple(_mount(mount, scope, (*place, "storage", i, "source")) for i, mount in enumerate(spec.storage)),
        devices=tuple(c.Device(path=d.path, access=_access(d)) for d in spec.devices),
        cap_add=spec.capabilities,
        cap_drop=spec.cap_drop,
        privileged=spec.privileged,
        no_new_privileges=security.get("no-new-privileges", "true") == "true",
        seccomp="unconfined" if security.get("seccomp") == "unconfined" else "default",
        sysctls=spec.sysctls,
        ulimits=tuple(c.Ulimit(name=n, soft=u.soft, hard=u.hard) for n, u in sorted(spec.ulimits.items())),
        read_only_root=spec.read_only_root_fs,
        tty=spec.tty,
        stdin_open=spec.stdin_open,
        stop_signal=spec.stop_signal,
        stop_grace=spec.stop_grace_period,
        network_mode=spec.network_mode,
        pid_mode=spec.pid_mode or "private",
        ipc_mode=spec.ipc_mode or "private",
        health=_health(spec),
        restart=c.Restart(kind=spec.restart_policy.kind, max_attempts=spec.restart_policy.max_attempts),
        log_max_size=Bytes(spec.logs.max_size_bytes),
        labels=spec.labels,
    )


def _resources(spec: m.ResourcesSpec) -> c.Resources:
    values = spec.model_dump()
    return c.Resources(pids=values.pop("pids_limit"), **values)


def _access(device: m.DeviceSpec) -> str:
    return "r" * device.read + "w" * device.write + "m" * device.mknod


def _mount(mount: m.StorageSpec, scope: _Scope, place: Place) -> c.Mount:
    match mount:
        case m.BindSpec():
            source = scope.source(mount.source, place)
            return c.BindMount(source=source, target=mount.target, readonly=mount.readonly)
        case m.NamedSpec():
            return c.VolumeMount(name=mount.name, target=mount.target, readonly=mount.readonly)
        case m.AnonymousSpec():
            return c.VolumeMount(name=None, target=mount.target)
        case m.TmpfsSpec():
            return c.TmpfsMount(target=mount.target, size=mount.size, mode=mount.mode)


def _health(spec: m.ServiceSpec) -> c.Health | None:
    """Left out: a TCP check of the first endpoint that is not UDP, if there is one, by the defaults of `HealthSpec`.

    `stream.health_check` says of which one, where there is no `health`.
    """
    first = next((e.target_port for e in spec.endpoints if e.protocol != "udp"), None)
    asked = next((e.target_port for e in spec.endpoints if e.stream and e.stream.health_check), None)
    first = asked if asked is not None and spec.health is None else first
    health = spec.health or (m.HealthSpec() if first else None)
    if health is None:
        return None
    return c.Health(
        check=_check(health.check, first),
        start_grace=health.start_grace,
        interval=health.interval,
        timeout=Seconds(health.timeout),
        retries=health.retries,
    )


def _check(
    check: m.TcpCheckSpec | m.HttpCheckSpec | m.CommandCheckSpec, first: int | None
) -> c.TcpCheck | c.HttpCheck | c.CommandCheck:
    match check:
        case m.TcpCheckSpec():
            port = check.port or first
            if port is None:
                raise Invalid("a tcp check needs a port or an endpoint", hint="give health.check.port")
            return c.TcpCheck(port=port)
        case m.HttpCheckSpec():
            target = target_of(check.url)
            return c.HttpCheck(port=target.port, path=target.path, expect_status=check.expect_status)
        case m.CommandCheckSpec():
            return c.CommandCheck(command=check.command)
