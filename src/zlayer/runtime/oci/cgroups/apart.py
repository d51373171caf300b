"""Putting monitors where the end of the daemon's own unit does not reach them.

systemd kills what is in a service's cgroup when it stops. It looks at v2, or at `name=systemd` of v1; so only there,
and only when we are in a unit ourselves, a monitor is moved to a cgroup beside it.
"""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies


def set_apart(hierarchies: Hierarchies, cgroup: str, pid: int) -> None:
    """Move a process to `cgroup` in the hierarchies a service manager watches. One that has ended is no error."""
    for mount in watched(hierarchies, own_cgroups()):
        directory = mount / cgroup.lstrip("/")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            directory.mkdir(exist_ok=True, parents=True)
            (directory / "cgroup.procs").write_text(str(pid))


def watched(hierarchies: Hierarchies, own: str) -> list[Path]:
    """Mount points, from the text of /proc/self/cgroup, in which we are not at the root."""
    found = []
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        if path == "/":
            continue
        mount = hierarchies.v2 if not names else hierarchies.mount_of(names) if names == "name=systemd" else None
        if mount is not None:
            found.append(mount)
    return found


@cache
def own_cgroups() -> str:
    return Path("/proc/self/cgroup").read_text()
