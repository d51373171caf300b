"""config.json of a container, whole, from a `CreateRequest` (OCI runtime-spec 1.0.2, config.md and config-linux.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zlayer.model.errors import Invalid
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci import limits
from zlayer.runtime.oci.abi import runs_32_bit
from zlayer.runtime.oci.capabilities import granted
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.devices import devices_of
from zlayer.runtime.oci.known import Known
from zlayer.runtime.oci.mounts import MASKED, READONLY, mounts_of
from zlayer.runtime.oci.seccomp import profile
from zlayer.runtime.oci.users import User, resolve

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSION = "1.0.2"
"""crun 1.8 refuses newer ones; nothing here needs more."""

Section = dict[str, Any]  # Any: a section of a JSON document
_users, _32_bit = Known[User](), Known[bool]()


@dataclass(frozen=True, slots=True)
class Place:
    """What the driver adds to a request: `cgroup` is absolute in every hierarchy."""

    cgroup: str
    hierarchies: Hierarchies


def config_of(request: CreateRequest, place: Place) -> Section:
    """The document for the engine. `Invalid` or `Unsupported` when the request cannot be; changes nothing."""
    _check(request)
    return {
        "ociVersion": _VERSION,
        "process": process_of(request),
        "root": {"path": str(request.rootfs), "readonly": request.read_only_root},
        **({"hostname": request.hostname} if request.hostname else {}),
        "mounts": mounts_of(request),
        "annotations": dict(request.labels),
        "linux": _linux(request, place),
    }


def process_of(request: CreateRequest) -> Section:
    """`process`: also the pattern for what `exec` runs."""
    asked = (request.user, request.extra_groups)
    user = _users.get(request.content, asked, lambda: resolve(request.rootfs, *asked))
    names = sorted(granted(request.cap_add, request.cap_drop, privileged=request.privileged))
    score = limits.oom_score_of(request.resources.oom_score_adj)
    return {
        "terminal": request.tty,
        "user": user_section(user),
        "args": list(request.argv),
        "env": environment_of(request, user),
        "cwd": request.cwd or "/",
        "capabilities": {
            "bounding": names,
            # Without root, nothing is effective until a set-uid or file capability gives it, as in Docker.
            "effective": names if user.uid == 0 else [],
            "permitted": names if user.uid == 0 else [],
        },
        "noNewPrivileges": request.no_new_privileges and not request.privileged,
        **({"rlimits": rows} if (rows := limits.rlimits_of(request.ulimits)) else {}),
        **({"oomScoreAdj": score} if score is not None else {}),
    }


def user_section(user: User) -> Section:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": [user.gid, *user.groups]}


def environment_of(request: CreateRequest, user: User) -> list[str]:
    """The request's variables, with the ones every program counts on when they are not given."""
    variables = {"PATH": DEFAULT_PATH, "HOME": user.home}
    if request.hostname:
        variables["HOSTNAME"] = request.hostname
    if request.tty:
        variables["TERM"] = "xterm"
    return [f"{name}={value}" for name, value in (variables | dict(request.env)).items()]


def _linux(request: CreateRequest, place: Place) -> Section:
    nodes, rules = devices_of(request.devices, privileged=request.privileged)
    section: Section = {
        "namespaces": _namespaces(request),
        "cgroupsPath": place.cgroup,
        "resources": {"devices": rules, **limits.resources_of(request.resources, place.hierarchies)},
        "devices": nodes,
    }
    if sysctls := limits.sysctls_of(request):
        section["sysctl"] = sysctls
    if not request.privileged:
        section["maskedPaths"], section["readonlyPaths"] = list(MASKED), list(READONLY)
        if request.seccomp == "default":
            names = granted(request.cap_add, request.cap_drop, privileged=False)
            program = (request.argv[0], request.cwd or "/", request.env.get("PATH", DEFAULT_PATH))
            both = _32_bit.get(request.content, program, lambda: runs_32_bit(request.rootfs, *program))
            if filters := profile(names, both_abis=both):
                section["seccomp"] = filters
    return section


def _namespaces(request: CreateRequest) -> list[Section]:
    namespaces: list[Section] = [{"type": "mount"}, {"type": "uts"}]
    if request.pid_mode == "private":
        namespaces.append({"type": "pid"})
    if request.ipc_mode == "private":
        namespaces.append({"type": "ipc"})
    if request.netns is not None:
        namespaces.append({"type": "network", "path": str(request.netns)})
    if has_cgroup_namespace() and not request.privileged:
        namespaces.append({"type": "cgroup"})
    return namespaces


@cache
def has_cgroup_namespace() -> bool:
    return Path("/proc/self/ns/cgroup").exists()


def _check(request: CreateRequest) -> None:
    if not request.argv or not request.argv[0]:
        raise Invalid("argv is empty", hint="give a command, or use an image that has one")
    texts = (*request.argv, *request.env, *request.env.values(), request.cwd, request.hostname)
    if any("\0" in text for text in texts):
        raise Invalid("a NUL byte stands in the command or environment", hint="remove it")
    if bad := [name for name in request.env if not name or "=" in name]:
        raise Invalid(f"environment name {bad[0]!r} cannot be", hint="a name is not empty and holds no =")
    if not (request.cwd or "/").startswith("/"):
        raise Invalid(f"workdir {request.cwd!r} is not absolute", hint="use for example /app")
    if request.hostname and len(request.hostname) > 64:
        raise Invalid(f"hostname {request.hostname!r} is over 64 bytes", hint="shorten it")
    if not request.rootfs.is_dir():
        raise Invalid(f"no root file system at {request.rootfs}", hint="mount the image first")
