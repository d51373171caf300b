"""Which cgroup hierarchies this machine has and where (man 7 cgroups; kernel docs, cgroup-v1 and cgroup-v2)."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_RMDIR_SECONDS = 5.0
_UNESCAPE = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """`v1` maps a controller (or `name=systemd`) to its mount point, joined ones to one; `v2` is the unified mount."""

    v1: tuple[tuple[str, Path], ...] = ()
    v2: Path | None = None

    @property
    def unified_only(self) -> bool:
        return self.v2 is not None and not self.v1

    def mount_of(self, controller: str) -> Path | None:
        """Where a v1 controller is mounted; None when it is not, or is v2's."""
        return next((path for name, path in self.v1 if name == controller), None)

    def directory(self, controller: str, cgroup: str) -> tuple[Path, int] | None:
        """(directory, cgroup version) in which a controller of `cgroup` is found."""
        if mount := self.mount_of(controller):
            return mount / cgroup.lstrip("/"), 1
        return (self.v2 / cgroup.lstrip("/"), 2) if self.v2 else None

    def directories(self, cgroup: str) -> list[Path]:
        """The directory of `cgroup` in every hierarchy, once each."""
        mounts = dict.fromkeys([path for _, path in self.v1] + ([self.v2] if self.v2 else []))
        return [mount / cgroup.lstrip("/") for mount in mounts]

    def counts_swap(self) -> bool:
        """Whether a swap limit can be set: asking for one where it is off makes the engine fail."""
        if mount := self.mount_of("memory"):
            return (mount / "memory.memsw.limit_in_bytes").exists()
        return Path("/proc/swaps").exists()

    def has_io_weight(self) -> bool:
        if mount := self.mount_of("blkio"):
            return (mount / "blkio.weight").exists() or (mount / "blkio.bfq.weight").exists()
        return self.unified_only

    def oom_kills(self, cgroup: str) -> int:
        """How many processes of a cgroup the kernel killed for memory; 0 when it is gone."""
        found = self.directory("memory", cgroup)
        if found is None:
            return 0
        directory, version = found
        return pairs(directory / ("memory.oom_control" if version == 1 else "memory.events")).get("oom_kill", 0)

    def processes(self, cgroup: str) -> set[int]:
        """Pids in a cgroup and below it, from the first hierarchy that has it."""
        for directory in self.directories(cgroup):
            if directory.is_dir():
                files = [Path(path) / "cgroup.procs" for path, _, _ in os.walk(directory)]
                return {int(pid) for file in files for pid in text(file).split()}
        return set()

    def thaw(self, cgroup: str) -> None:
        """Let a paused cgroup run: a frozen process cannot even die. Nothing happens to one that is not frozen."""
        found = self.directory("freezer", cgroup)
        if found is None:
            return
        directory, version = found
        file, frozen, go = ("freezer.state", "THAWED", "THAWED") if version == 1 else ("cgroup.freeze", "0", "0")
        state = text(directory / file).strip()
        if state and state != frozen:
            (directory / file).write_text(go)

    def remove(self, cgroup: str) -> list[Path]:
        """Delete a cgroup everywhere; returns what stayed because a process is still in it. Blocks: use a thread.

        A cgroup is busy for a moment after its last process ended, so EBUSY is tried again for some seconds.
        """
        deadline = time.monotonic() + _RMDIR_SECONDS
        return [path for path in self.directories(cgroup) if not _remove(path, deadline)]


def _remove(path: Path, deadline: float) -> bool:
    pause = 0.0005
    while True:
        try:
            os.rmdir(path)  # noqa: PTH106  # nine of these per container
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.EACCES) or time.monotonic() > deadline:
                return False
            for child in children(path):
                _remove(child, deadline)
            time.sleep(pause)  # in a thread of its own; the kernel has no event for "no longer busy"
            pause = min(pause * 2, 0.05)
        else:
            return True


def children(path: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def text(path: Path) -> str:
    """A small file, or nothing when it is not there (a controller is off, a cgroup is gone)."""
    try:
        return path.read_text()
    except OSError:
        return ""


def pairs(path: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    found: dict[str, int] = {}
    for line in text(path).splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def parse(mountinfo: str) -> Hierarchies:
    """From the text of /proc/PID/mountinfo (man 5 proc). A later mount on the same point covers an earlier one."""
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3:
            continue
        point = Path(_plain(fields[4]))
        if tail[0] == "cgroup2":
            v2 = v2 or point
        elif tail[0] == "cgroup":
            v1.update({n: point for n in tail[2].split(",") if n in _CONTROLLERS or n.startswith("name=")})
    return Hierarchies(tuple(sorted(v1.items())), v2)


_V1 = "cpu cpuacct cpuset memory devices freezer blkio pids net_cls net_prio perf_event hugetlb rdma misc"
_CONTROLLERS = frozenset(_V1.split())


def _plain(field: str) -> str:
    for escape, character in _UNESCAPE.items():
        field = field.replace(escape, character)
    return field


@cache
def mounted() -> Hierarchies:
    """The hierarchies of this machine, read once."""
    return parse(Path("/proc/self/mountinfo").read_text())
