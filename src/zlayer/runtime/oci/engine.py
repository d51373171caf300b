"""One OCI engine (runc, crun or youki) and how it is spoken to, by command or, where that is proven, directly.

`start` opens `exec.fifo` in the state directory, reads a byte of it (runc) or writes one (crun), and unlinks it;
`delete` of a container whose processes are gone removes that directory and the cgroups (runc: libcontainer,
container_linux.go and state_linux.go; crun: libcrun, status.c). Doing the same here saves two launches of a program per
container: a third of the life of a short one. Anything unexpected goes to the engine's own command. ADR 0005.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zlayer.model.errors import Exhausted, Failed, ZlayerError

_LOGGED = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')
"""What runc writes between its warnings: logfmt."""
_NOISE = ("container_linux.go:", "unable to start container process: ", "starting container process caused: ")


def _unescape(found: re.Match[str]) -> str:
    return " " if found[1] in "nt" else found[1]


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is crun, runc or youki; `state` the directory given to its `--root`."""

    name: str
    path: str
    version: str
    state: Path

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def argv(self, *args: str) -> list[str]:
        return [self.path, "--root", str(self.state), *args]

    @property
    def start_by(self) -> Literal["read", "write", "command"]:
        """How `exec.fifo` lets its waiting init go: runc's writes a byte and wants it read, crun's reads one."""
        return "read" if self.name == "runc" else "write" if self.name == "crun" else "command"

    def fifo(self, container: str) -> Path:
        """There while the container is created and not started (runc and crun)."""
        return self.state / container / "exec.fifo"

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
