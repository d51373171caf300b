"""A corner of this machine for tests of a real runtime: short directories, a busybox root, and a count of what is left.

Only for tests of the runtime itself; everything else gets its images from a registry.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.site import ENGINES

_USERS = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:User:/home/user:/bin/sh\n"
_GROUP = "root:x:0:\nuser:x:1001:\nextra:x:1234:user\nwheel:x:10:root\n"
_BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")


def busybox() -> Path | None:
    """A static busybox of this machine."""
    return next((Path(path) for path in _BUSYBOX if Path(path).exists()), None)


def engines() -> list[str]:
    """The OCI engines a driver is to be tried with: those of this machine; where there is none, what `auto` says."""
    return [name for name in ENGINES if shutil.which(name)] or ["auto"]


def make_rootfs(root: Path) -> Path:
    """A root file system of busybox and the two files users are looked up in."""
    source = busybox()
    assert source is not None, "busybox-static is not installed"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy(source, root / "bin/busybox")
    listed = subprocess.run([source, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in listed:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text(_USERS)
    (root / "etc/group").write_text(_GROUP)
    (root / "tmp").chmod(0o1777)
    return root


@dataclass(slots=True)
class Sandbox:
    """`cgroup` is a cgroup parent of its own. Containers share no root: each has a copy."""

    root: Path
    cgroup: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def containers(self) -> Path:
        return self.root / "c"

    @property
    def run(self) -> Path:
        return self.root / "r"

    def request(self, *argv: str, name: str = "") -> CreateRequest:
        """A request with an id, a directory and a root of its own."""
        name = name or f"t{next(self._numbers)}"
        directory = self.containers / name
        rootfs = directory / "rootfs"
        if not rootfs.exists():
            make_rootfs(rootfs)
        return CreateRequest(id=name, directory=directory, rootfs=rootfs, argv=argv)

    def processes(self) -> dict[int, str]:
        """Processes that have this sandbox in their command line: monitors and engines."""
        found = {}
        for name in os.listdir("/proc"):  # noqa: PTH208  # names are wanted
            with contextlib.suppress(OSError):
                if name.isdigit() and str(self.root) in (
                    line := Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                ):
                    found[int(name)] = line
        return found

    def cgroups(self) -> list[Path]:
        """Cgroup directories of this sandbox, children first."""
        roots = [path for mount in _cgroup_mounts() if (path := mount / self.cgroup).is_dir()]
        return [Path(path) for root in roots for path, _, _ in os.walk(root, topdown=False)]

    def mounts(self) -> list[str]:
        text = Path("/proc/self/mountinfo").read_text()
        return [line.split()[4] for line in text.splitlines() if str(self.root) in line]

    def clean(self) -> list[str]:
        """Take away by force what is left; returns what that was, so that a test can fail by it."""
        left = [f"process {line}" for line in self.processes().values()]
        left += [f"cgroup {path}" for path in self.cgroups()] + [f"mount {path}" for path in self.mounts()]
        inside = {int(p) for path in self.cgroups() for p in (path / "cgroup.procs").read_text().split()}
        for pid in {*self.processes(), *inside} - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in self.cgroups():
            with contextlib.suppress(OSError):
                path.rmdir()
        shutil.rmtree(self.root, ignore_errors=True)
        return left


def _cgroup_mounts() -> list[Path]:
    lines = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(left.split()[4]) for left, right in lines if right.startswith("cgroup")]


@contextlib.contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A sandbox, cleaned at the end. A test that passed fails when it left a process, cgroup or mount behind."""
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    box = Sandbox(root, f"zltest-{root.name}")
    box.containers.mkdir()
    try:
        yield box
    except BaseException:
        box.clean()
        raise
    if left := box.clean():
        raise AssertionError(f"left behind: {left}")
