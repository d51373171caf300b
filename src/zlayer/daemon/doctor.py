"""`zlayer doctor`: look at this machine, change nothing, and say for each finding what to do.

The engine check makes and removes a container, the rootfs check a mount, below directories of their own; everything
else only reads. Works without root and without a daemon; what cannot be looked at is a finding too.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from zlayer.daemon import config, doctor_checks, lock
from zlayer.daemon.doctor_checks import UNKNOWN, Finding, Rootfs
from zlayer.daemon.listen import DEFAULT
from zlayer.image.rootfs import choose
from zlayer.image.s3.bucket import Bucket
from zlayer.model.errors import Unavailable, ZlayerError
from zlayer.model.paths import Paths
from zlayer.network import nft
from zlayer.network.names import bridge_prefix
from zlayer.proxy.haproxy.probing import probe
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies, mounted
from zlayer.runtime.oci.mountspace import MountSpace
from zlayer.runtime.oci.probe import find_tools
from zlayer.runtime.oci.site import ENGINES, Site

__all__ = ["Finding", "run"]

STA_UNSYNC = 0x40
TIMEX_BYTES, TIMEX_STATUS = 512, 40


def run(paths: Paths) -> list[Finding]:
    """Every finding, in the order to mend them. Blocks for up to some seconds (engines are tried)."""
    rootfs = _rootfs(paths)
    checks: dict[str, Callable[[], Finding | list[Finding]]] = {
        "kernel": lambda: doctor_checks.kernel(os.uname().release),
        "capabilities": _capabilities,
        "namespaces": lambda: doctor_checks.namespaces([path.name for path in Path("/proc/self/ns").iterdir()]),
        "overlayfs": lambda: doctor_checks.overlayfs(Path("/proc/filesystems").read_text(), rootfs.known),
        "rootfs": lambda: rootfs.finding,
        "cgroups": _cgroups,
        "engine": lambda: anyio.run(_engines),
        "proxy": _proxy,
        "nftables": _rules,
        "forwarding": partial(_forwarding, paths),
        "port": partial(_port, paths),
        "filesystem": lambda: _filesystem(paths, rootfs.known),
        "disk": partial(_disk, paths),
        "s3": partial(_s3, paths),
        "open files": lambda: doctor_checks.open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "clock": _clock,
    }
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            result = check()
        except OSError as error:
            result = Finding(name, "warn", f"cannot be looked at: {error}", "run zlayer doctor as root")
        except ZlayerError as error:
            result = Finding(name, "fail", error.message, error.hint)
        found += result if isinstance(result, list) else [result]
    return found


def _release() -> str:
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Tried:
    """What was found of the drivers, and what other checks may go by."""

    finding: Finding
    known: Rootfs = UNKNOWN


def _rootfs(paths: Paths) -> _Tried:
    """Tried below the data directory, in a directory that is gone afterwards."""
    try:
        wanted = config.load(paths.root / "config.toml").rootfs
        named = Rootfs(wanted, named=True) if wanted not in ("auto", "overlay") else UNKNOWN
        if not paths.root.is_dir():
            return _Tried(Finding("rootfs", "ok", "tried when the data directory is there"), named)
        if os.geteuid():
            return _Tried(
                Finding("rootfs", "warn", "only root can try the drivers", "run zlayer doctor as root"), named
            )
        choice = choose(paths.root, wanted)
    except OSError as error:
        return _Tried(Finding("rootfs", "warn", f"cannot be looked at: {error}", "run zlayer doctor as root"))
    except ZlayerError as error:
        return _Tried(Finding("rootfs", "fail", error.message, error.hint))
    found = Rootfs(choice.driver, named=wanted != "auto")
    return _Tried(Finding("rootfs", "ok", f"{choice.driver}: {choice.reason}"), found)


def _capabilities() -> Finding:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return doctor_checks.capabilities(os.geteuid(), int(line.split()[1], 16))


def _cgroups() -> Finding:
    return doctor_checks.cgroups(*cgroup_layout(mounted()))


def cgroup_layout(hierarchies: Hierarchies) -> tuple[str, list[str]]:
    """`v1`, `hybrid` or `v2` (empty: none), and the controllers of all of it."""
    controllers = [name for name, _ in hierarchies.v1 if "=" not in name]
    if hierarchies.v2 is not None:
        controllers += (hierarchies.v2 / "cgroup.controllers").read_text().split()
    if hierarchies.unified_only:
        return "v2", controllers
    if hierarchies.v2 is not None:
        return "hybrid", controllers
    return ("v1" if hierarchies.v1 else ""), controllers


async def _engines() -> list[Finding]:
    usable, refusals = "", dict[str, tuple[str, str]]()
    conmon = shutil.which("conmon") is not None
    parent = f"zlayer-doctor{os.getpid()}"
    with _aside() as directory, closing(MountSpace((directory,))) as space:
        site = Site(directory, parent, mounted(), space)
        try:
            for name in ENGINES:
                try:
                    tools = await find_tools(site, name)
                    usable = usable or str(tools.engine)
                except Unavailable as error:
                    refusals[name] = (error.message.removeprefix("no OCI engine works here: "), error.hint)
        finally:
            mounted().remove(f"/{parent}")
    return doctor_checks.engines(usable, refusals, conmon, _release())


@contextmanager
def _aside() -> Iterator[Path]:
    """A short directory outside the data directory: the doctor leaves no trace in it."""
    directory = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _proxy() -> Finding:
    return doctor_checks.proxy(probe("haproxy"), _release())


def _rules() -> Finding:
    by, refusal = nft.availability(), ""
    if by:
        try:
            nft.run("list tables")
        except ZlayerError as error:
            refusal = error.message
    return doctor_checks.rules(by, refusal, _release())


def _forwarding(paths: Paths) -> Finding:
    try:
        policy = nft.forward_policy()
    except Unavailable:
        policy = ""  # the check of nftables tells
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    return doctor_checks.forwarding(forward, policy, f"{bridge_prefix(paths.id)}+")


def _port(paths: Paths) -> Finding:
    bind = config.load(paths.root / "config.toml").bind or DEFAULT
    running = lock.holder(paths.lock)
    if running is not None or bind.off:
        return doctor_checks.port("off", "", running)
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind.host, bind.port))
            probe.listen()
        except OSError as error:
            return doctor_checks.port(str(bind), error.strerror or str(error), None)
    return doctor_checks.port(str(bind), "", None)


def _existing(path: Path) -> Path:
    """The nearest directory that is there: where the data directory would be made."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def _filesystem(paths: Paths, rootfs: Rootfs) -> Finding:
    return doctor_checks.filesystem(str(paths.root), filesystem_of(_existing(paths.root)), rootfs)


def filesystem_of(path: Path, mountinfo: str | None = None) -> str:
    """The type of the file system an absolute, resolved path is on, by the longest mount point (the last one wins)."""
    best, kind = "", "unknown"
    for line in (mountinfo or Path("/proc/self/mountinfo").read_text()).splitlines():
        head, _, tail = line.partition(" - ")
        point = head.split()[4].replace("\\040", " ")
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, tail.split()[0]
    return kind


def _disk(paths: Paths) -> Finding:
    where = _existing(paths.root)
    seen = os.statvfs(where)
    return doctor_checks.disk(str(where), seen.f_bavail * seen.f_frsize, seen.f_favail, seen.f_files)


def _s3(paths: Paths) -> list[Finding]:
    """With this shell's keys, which may not be the daemon's; nothing where no bucket is set."""
    settings = config.load(paths.root / "config.toml").registries.s3
    if settings is None:
        return []
    error: ZlayerError | None = None
    with closing(Bucket(settings, os.environ, tries=1)) as bucket:
        try:
            bucket.probe()
        except ZlayerError as found:
            error = found
    return [doctor_checks.s3(settings.name, error)]


def _clock() -> Finding:
    built = Path(doctor_checks.__file__).stat().st_mtime
    return doctor_checks.clock(time.time(), built, _synchronised())


def _synchronised() -> bool:
    """Whether something disciplines the kernel's clock: adjtimex(2) with no mode only reads."""
    timex = ctypes.create_string_buffer(TIMEX_BYTES)
    if ctypes.CDLL(None).adjtimex(timex) < 0:
        return False
    return not int.from_bytes(timex.raw[TIMEX_STATUS : TIMEX_STATUS + 4], "little") & STA_UNSYNC
