"""Processor time of everything a way of starting containers runs, from the kernel's books, without others' noise.

Who measures is put into a cgroup of its own, whose children's time counts even after they and their cgroups are gone.
Work that the kernel does later in threads of its own (network namespaces, RCU) is in nobody's books.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from zlayer.runtime.oci.cgroups.hierarchy import mounted


class Account:
    """The processor time of some cgroups. `names` are below the root; one that does not exist counts as nothing."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def seconds(self) -> float:
        return sum(_used(name) for name in self.names)

    def user(self) -> float:
        """The part of it that programs spent themselves, and not the kernel for them."""
        return sum(_used(name, user=True) for name in self.names)


@contextlib.contextmanager
def cgroup(name: str) -> Iterator[str]:
    """A cgroup of the hierarchy that counts processor time. At the end it goes from all: podman makes it everywhere."""
    _directory(name).mkdir()
    try:
        yield name
    finally:
        left = mounted().remove(name)
        assert not left, left


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This process, and what it starts meanwhile, is in the cgroup."""
    home = _directory(_own())
    (_directory(name) / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def _directory(name: str) -> Path:
    found = mounted().directory("cpuacct", name)
    assert found is not None, "no cgroup hierarchy counts processor time here"
    return found[0]


def _own() -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(",") or (not controllers and mounted().unified_only):
            return path
    return "/"


def _used(name: str, *, user: bool = False) -> float:
    directory = _directory(name)
    try:
        if (usage := directory / ("cpuacct.usage_user" if user else "cpuacct.usage")).exists():
            return int(usage.read_text()) / 1e9
        lines = (directory / "cpu.stat").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    return int(dict(line.split() for line in lines)["user_usec" if user else "usage_usec"]) / 1e6
