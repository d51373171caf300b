"""Mounts of a container: what every Linux container has (OCI runtime-spec, config-linux), then what was asked for.

Sources are the caller's to check. Targets that are symlinks in the image are resolved inside the root by the engine
(runc: securejoin and /proc/self/fd), so none of this can write outside.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from typing import Any

from zlayer.model.errors import Invalid
from zlayer.runtime.contract import CreateRequest, MountPoint

_QUIET = ["nosuid", "noexec", "nodev"]
_SHM_BYTES = 64 << 20
_DEV_BYTES = 64 << 20

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

Entry = dict[str, Any]  # Any: one entry of a JSON document


def mounts_of(request: CreateRequest) -> list[Entry]:
    """All mounts in order: parents before children, and a mount asked for instead of a default on the same target."""
    asked = [_asked(m) for m in request.mounts]
    targets = [m["destination"] for m in asked]
    if double := next((t for i, t in enumerate(targets) if t in targets[:i]), None):
        raise Invalid(f"two mounts have the target {double}", hint="keep one of them")
    default = [m for m in _defaults(request) if m["destination"] not in targets]
    return default + sorted(asked, key=lambda m: m["destination"].count("/"))


def target_of(target: str) -> str:
    """A mount target made plain; `Invalid` when it is not an absolute path below `/`."""
    plain = posixpath.normpath(target)
    if not target.startswith("/") or plain in ("/", "//") or "\0" in target:
        raise Invalid(f"mount target {target!r} cannot be", hint="use an absolute path below /")
    return plain if not plain.startswith("//") else plain[1:]


def _asked(mount: MountPoint) -> Entry:
    target = target_of(mount.target)
    access = "ro" if mount.readonly else "rw"
    if mount.type == "bind":
        if not mount.source.startswith("/"):
            raise Invalid(f"mount source {mount.source!r} is not absolute", hint="use an absolute host path")
        options = ["rbind", "rprivate", access]
        return {"destination": target, "type": "bind", "source": mount.source, "options": options}
    options = [*_QUIET, access, f"mode={mount.mode if mount.mode is not None else 0o1777:o}"]
    if mount.size is not None:
        options.append(f"size={mount.size}")
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _defaults(request: CreateRequest) -> Iterable[Entry]:
    access = "rw" if request.privileged else "ro"
    yield _entry("/proc", "proc", _QUIET)
    yield _entry("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", f"size={_DEV_BYTES}"])
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    yield _entry("/dev/pts", "devpts", pts)
    if request.ipc_mode == "host":
        for target in ("/dev/shm", "/dev/mqueue"):
            if os.path.isdir(target):  # noqa: PTH112  # a host may have no mqueue mounted
                options = ["rbind", "nosuid", "nodev"]
                yield {"destination": target, "type": "bind", "source": target, "options": options}
    else:
        yield _entry("/dev/shm", "tmpfs", [*_QUIET, "mode=1777", f"size={_SHM_BYTES}"], source="shm")
        yield _entry("/dev/mqueue", "mqueue", _QUIET)
    yield _entry("/sys", "sysfs", [*_QUIET, access])
    yield _entry("/sys/fs/cgroup", "cgroup", [*_QUIET, "relatime", access])


def _entry(target: str, kind: str, options: list[str], *, source: str = "") -> Entry:
    return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}
