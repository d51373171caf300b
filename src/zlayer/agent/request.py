"""From an instance and its image to the runtime's request: image defaults merged as OCI image-spec says."""

from __future__ import annotations

from pathlib import Path

from zlayer.image.contract import Image, ImageConfig
from zlayer.model.errors import Invalid
from zlayer.model.instance import ONE_OFF, Instance
from zlayer.runtime.contract import CreateRequest, MountPoint

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(
    instance: Instance,
    image: Image,
    *,
    directory: Path,
    rootfs: Path,
    netns: Path | None,
    mounts: tuple[MountPoint, ...],
) -> CreateRequest:
    """`Invalid` when neither the spec nor the image names a command."""
    spec, config = instance.spec, image.config
    return CreateRequest(
        id=instance.id,
        directory=directory,
        rootfs=rootfs,
        content=image.digest,
        argv=command(instance, config),
        env=environment(instance, config),
        cwd=spec.workdir or config.workdir or "/",
        user=spec.user or config.user,
        extra_groups=spec.extra_groups,
        hostname=hostname(instance) if spec.network_mode != "host" else "",
        netns=netns,
        mounts=mounts,
        devices=spec.devices,
        resources=spec.resources,
        ulimits=spec.ulimits,
        cap_add=spec.cap_add,
        cap_drop=spec.cap_drop,
        privileged=spec.privileged,
        no_new_privileges=spec.no_new_privileges,
        seccomp=spec.seccomp,
        sysctls=spec.sysctls,
        read_only_root=spec.read_only_root,
        pid_mode=spec.pid_mode,
        ipc_mode=spec.ipc_mode,
        tty=spec.tty,
        stdin_open=spec.stdin_open,
        stop_signal=stop_signal(instance, config),
        log_max_size=spec.log_max_size,
        labels=spec.labels,
    )


def command(instance: Instance, config: ImageConfig) -> tuple[str, ...]:
    """The image's Entrypoint and Cmd, unless given: an entrypoint of ours drops the image's Cmd, args replace Cmd."""
    spec = instance.spec
    if spec.entrypoint is not None:
        argv = spec.entrypoint + (spec.args or ())
    else:
        argv = config.entrypoint + (spec.args if spec.args is not None else config.cmd)
    if not argv:
        raise Invalid(f"image {spec.image} names no command", hint="set command.entrypoint or command.args")
    return argv


def environment(instance: Instance, config: ImageConfig) -> dict[str, str]:
    env = {"PATH": PATH, "HOSTNAME": hostname(instance), "HOME": "/root"}
    if config.user or instance.spec.user:
        del env["HOME"]  # the driver knows the user's own from the image's passwd
    if instance.spec.tty:
        env["TERM"] = "xterm"
    return {**env, **config.env, **instance.spec.env}


def hostname(instance: Instance) -> str:
    """The spec's, else `service-slot` cut to what the kernel takes (64, RFC 1123 label 63)."""
    if instance.spec.hostname:
        return instance.spec.hostname
    if instance.deployment == ONE_OFF:
        return instance.id[-8:]
    slot = f"-{instance.slot}"
    return instance.service[: 63 - len(slot)].strip("-") + slot


def stop_signal(instance: Instance, config: ImageConfig) -> str:
    return instance.spec.stop_signal or config.stop_signal or "SIGTERM"
