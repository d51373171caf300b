"""One OCI engine (runc, crun or youki) and how it is spoken to, by command or, where that is proven, directly.

`start` opens `exec.fifo` in the state directory, reads a byte of it (runc) or writes one (crun), and unlinks it;
`delete` of a container whose processes are gone removes that directory and the cgroups (runc: libcontainer,
container_linux.go and state_linux.go; crun: libcrun, status.c). Doing the same here saves two launches of a program per
container: a third of the life of a short one. Anything unexpected goes to the engine's own command. ADR 0005.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from zlayer.model.errors import Exhausted, Failed, Unavailable, ZlayerError
from zlayer.runtime.oci import spawn
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies, text
from zlayer.runtime.oci.mountspace import MountSpace, MountSpaceError, View

T = TypeVar("T")

_LOGGED = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')
"""What runc writes between its warnings: logfmt."""
_NOISE = ("container_linux.go:", "unable to start container process: ", "starting container process caused: ")


def _unescape(found: re.Match[str]) -> str:
    return " " if found[1] in "nt" else found[1]


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is crun, runc or youki; `state` the directory given to its `--root`.

    `covered` is a mount point it must not see, `space` where it can be started so; without one it sees what we see.
    """

    name: str
    path: str
    version: str
    state: Path
    covered: Path | None = None
    space: MountSpace | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def argv(self, *args: str) -> list[str]:
        return [self.path, "--root", str(self.state), *args]

    async def run(self, *args: str, timeout: float) -> spawn.Completed:
        """One of its commands to its end; as `spawn.run`."""
        return await spawn.run(self.argv(*args), timeout=timeout, begin=self.begin)

    async def begin(self, work: Callable[[], T], carry: Sequence[Path] | None = None) -> T:
        """`work`, which starts a program, where this engine can work.

        With `carry` that is a namespace with hardly more mounts than those of these paths. `Unavailable` when the
        machine does not let us hide what must not be seen.
        """
        if self.space is None or (carry is None and self.covered is None):
            return work()
        try:
            return await self.space.run(work, View(carry or (), whole=carry is None, covered=self.covered))
        except MountSpaceError as error:
            if self.covered is None:
                return work()  # only slower
            raise Unavailable(
                f"{self.name} cannot be shielded from {self.covered}: {error.strerror}",
                hint="run the daemon with CAP_SYS_ADMIN on Linux 5.2 or newer, or install runc",
            ) from error

    @property
    def start_by(self) -> Literal["read", "write", "command"]:
        """How `exec.fifo` lets its waiting init go: runc's writes a byte and wants it read, crun's reads one."""
        return "read" if self.name == "runc" else "write" if self.name == "crun" else "command"

    def fifo(self, container: str) -> str:
        """There while the container is created and not started (runc and crun)."""
        return f"{self.state}/{container}/exec.fifo"

    def container_state(self, container: str) -> Path:
        return self.state / container

    def refusal(self, verb: str, words: str, *, program: str = "") -> ZlayerError:
        """The error the engine's own words stand for, cut down to what a person needs."""
        said = [re.sub(r"\\(.)", _unescape, each) for each in _LOGGED.findall(words)]
        text = " ".join(("; ".join(said) or words.replace("\\n", " ")).split())
        for noise in (f"{self.name} {verb} failed: ", *_NOISE):
            text = text.removeprefix(noise)
        message = f"{self.name}: {text or 'failed without a word'}"
        lower = text.lower()
        if "exec" in lower and program not in text:
            message += f" ({program})"
        if "no space left" in lower or "resource temporarily unavailable" in lower or "cannot allocate" in lower:
            return Exhausted(message, hint="free disk, memory or process ids on this machine")
        if "executable file not found" in lower or ("exec" in lower and "no such file" in lower):
            return Failed(message, hint="the image has no such program: check entrypoint, args and PATH")
        if "exec" in lower and ("permission denied" in lower or "not permitted" in lower):
            return Failed(message, hint="the program is not executable for this user: check its mode and `user`")
        return Failed(
            message, hint="see the deployment's mounts, devices and limits; `zlayer doctor` checks the machine"
        )


@cache
def to_cover(name: str, hierarchies: Hierarchies) -> Path | None:
    """The v2 mount where crun must not see it: with v1 beside it and controllers of its own, crun makes nothing."""
    if name != "crun" or not hierarchies.v1 or hierarchies.v2 is None:
        return None
    return hierarchies.v2 if text(hierarchies.v2 / "cgroup.controllers").strip() else None
