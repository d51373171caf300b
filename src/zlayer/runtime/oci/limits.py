"""What a container may use: cgroup limits, rlimits and sysctls, checked against what this machine can do."""

from __future__ import annotations

import re
import resource
from functools import cache
from pathlib import Path
from typing import Any

from zlayer.model.container import Resources, Ulimit
from zlayer.model.errors import Invalid, Unsupported
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.capabilities import bounding
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies

OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
"""As this process was started: a daemon that raises its own soft limit does not hand that on."""
_PERIOD = 100_000
_LEAST_QUOTA = 1_000
_LEAST_MEMORY = 6 << 20
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_IPC = """
kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced
"""
_IPC_SYSCTLS = frozenset(_IPC.split())

Section = dict[str, Any]  # Any: a section of a JSON document


def resources_of(wanted: Resources, hierarchies: Hierarchies) -> Section:
    """`linux.resources` without devices. `Invalid` for impossible values, `Unsupported` for what this kernel lacks."""
    section: Section = {}
    if memory := _memory(wanted, hierarchies):
        section["memory"] = memory
    cpu: Section = {}
    if wanted.cpu is not None:
        if wanted.cpu <= 0:
            raise Invalid(f"cpu {wanted.cpu} is not positive", hint="use for example 0.5")
        cpu = {"quota": max(_LEAST_QUOTA, round(wanted.cpu * _PERIOD)), "period": _PERIOD}
    if wanted.cpu_shares is not None:
        cpu["shares"] = wanted.cpu_shares
    if wanted.cpuset is not None:
        if not _CPUSET.fullmatch(wanted.cpuset):
            raise Invalid(f"cpuset {wanted.cpuset!r} is no list of processors", hint="use for example 0-2,5")
        cpu["cpus"] = wanted.cpuset
    if cpu:
        section["cpu"] = cpu
    if wanted.pids is not None:
        section["pids"] = {"limit": wanted.pids if wanted.pids > 0 else -1}
    if wanted.blkio_weight is not None:
        if not hierarchies.has_io_weight():
            raise Unsupported("blkio_weight: this kernel has no weights for block devices", hint="leave it out")
        section["blockIO"] = {"weight": wanted.blkio_weight}
    return section


def _memory(wanted: Resources, hierarchies: Hierarchies) -> Section:
    section: Section = {}
    if wanted.memory is not None:
        if wanted.memory < _LEAST_MEMORY:
            raise Invalid(f"memory {wanted.memory} is under 6 MiB", hint="a container cannot start with less")
        section["limit"] = wanted.memory
        if hierarchies.counts_swap():
            section["swap"] = wanted.memory if wanted.memory_swap is None else wanted.memory_swap
    elif wanted.memory_swap is not None:
        raise Invalid("memory_swap without memory", hint="set memory too; memory_swap is the sum of both")
    if wanted.memory_swap not in (None, -1) and (wanted.memory_swap or 0) < (wanted.memory or 0):
        raise Invalid("memory_swap is less than memory", hint="it is memory plus swap")
    if wanted.memory_reservation is not None:
        section["reservation"] = wanted.memory_reservation
    for field, key, value in (
        ("memory_swappiness", "swappiness", wanted.memory_swappiness),
        ("oom_kill_disable", "disableOOMKiller", wanted.oom_kill_disable or None),
    ):
        if value is not None and hierarchies.unified_only:
            raise Unsupported(f"{field}: cgroup v2 does not have it", hint="leave it out")
        if value is not None:
            section[key] = value
    return section


def rlimits_of(ulimits: tuple[Ulimit, ...]) -> list[Section]:
    """`process.rlimits`, clamped to our own hard limits unless we may raise them (CAP_SYS_RESOURCE)."""
    free = "CAP_SYS_RESOURCE" in bounding()
    rows = [_rlimit(limit, free=free) for limit in ulimits]
    raised = resource.getrlimit(resource.RLIMIT_NOFILE) != OPEN_FILES
    if raised and all(row["type"] != "RLIMIT_NOFILE" for row in rows):
        rows.append(_rlimit(Ulimit(name="nofile", soft=OPEN_FILES[0], hard=OPEN_FILES[1]), free=False))
    return rows


def _rlimit(limit: Ulimit, *, free: bool) -> Section:
    name = f"RLIMIT_{limit.name.upper().removeprefix('RLIMIT_')}"
    number = getattr(resource, name, None)
    if not isinstance(number, int):
        raise Invalid(f"unknown ulimit {limit.name!r}", hint="use for example nofile, nproc or memlock")
    most = resource.RLIM_INFINITY if free else resource.getrlimit(number)[1]
    hard = _least(limit.hard, most)
    return {"type": name, "hard": _unsigned(hard), "soft": _unsigned(_least(limit.soft, hard))}


def _least(one: int, other: int) -> int:
    """-1 is without limit."""
    return max(one, other) if -1 in (one, other) else min(one, other)


def _unsigned(value: int) -> int:
    return value if value >= 0 else 2**64 - 1


def oom_score_of(wanted: int | None) -> int | None:
    """`process.oomScoreAdj`. `Unsupported` when it is below our own and we may not lower it."""
    if wanted is None:
        return None
    if not -1000 <= wanted <= 1000:
        raise Invalid(f"oom_score_adj {wanted} is out of range", hint="use -1000 to 1000")
    if wanted < _own_oom_score() and "CAP_SYS_RESOURCE" not in bounding():
        raise Unsupported(
            f"oom_score_adj {wanted}: the daemon may not lower it here", hint="use a higher value, or leave it out"
        )
    return wanted


@cache
def _own_oom_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def sysctls_of(request: CreateRequest) -> dict[str, str]:
    """`linux.sysctl`: only those that belong to a namespace of the container. `Invalid` names the first other one."""
    for name in request.sysctls:
        plain = name.replace("/", ".")
        if plain.startswith("net."):
            own, needs = request.netns is not None, "its own network"
        elif plain in _IPC_SYSCTLS or plain.startswith("fs.mqueue."):
            own, needs = request.ipc_mode == "private", "private ipc"
        else:
            raise Invalid(f"sysctl {name} is not of a container", hint="set it on the host")
        if not own:
            raise Invalid(f"sysctl {name} would change the host", hint=f"give the container {needs}")
    return {name.replace("/", "."): value for name, value in request.sysctls.items()}
