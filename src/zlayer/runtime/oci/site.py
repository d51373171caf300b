"""The part of this machine that belongs to one driver: where engines keep state, which cgroups are its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.engine import Engine, to_cover
from zlayer.runtime.oci.mountspace import MountSpace

ENGINES = ("crun", "runc", "youki")
"""In the order they are tried."""


@dataclass(frozen=True, slots=True)
class Site:
    """`cgroup_parent` is a plain name: containers are in `/cgroup_parent/ID` of every hierarchy."""

    run: Path
    cgroup_parent: str
    hierarchies: Hierarchies
    space: MountSpace | None = field(default=None, compare=False, repr=False)

    def cgroup_of(self, container: str) -> str:
        return f"/{self.cgroup_parent}/{container}"

    @property
    def monitors(self) -> str:
        """The cgroup of conmons, beside the containers'."""
        return f"/{self.cgroup_parent}-monitors"

    def engine(self, name: str, version: str = "") -> Engine:
        """An engine by name: a container is always spoken to through the one that made it."""
        state, covered = self.run / "oci" / name, to_cover(name, self.hierarchies)
        return Engine(name=name, path=_which(name), version=version, state=state, covered=covered, space=self.space)

    def engines_with(self, container: str) -> list[Engine]:
        """Engines that have state of a container: of one whose record was never written."""
        found = (name for name in ENGINES if os.path.exists(f"{self.run}/oci/{name}/{container}"))  # noqa: PTH110  # hot
        return [self.engine(name) for name in found]


@cache
def _which(name: str) -> str:
    return shutil.which(name) or name
