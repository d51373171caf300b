"""The engine's master process: started so that it outlives us, found again, watched, ended.

It runs `haproxy -C DIR -W`: the directory in its command line is what tells our engine from any other, together with
the pid file; a pid alone is never believed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio

from zlayer.model.errors import Unavailable
from zlayer.model.units import Bytes, Seconds
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.text import Process

CONFIG, PID, MASTER, STATS = "haproxy.cfg", "haproxy.pid", "master.sock", "stats.sock"
ACCESS, ENGINE = "access.log", "engine.log"
USERS = ("haproxy", "nobody")
_LOOKS = 1000
_KERNEL_THREAD = 0x200000
"""PF_KTHREAD among the flags in /proc/PID/stat."""
_RELEASE = Seconds(2)
OWN_DESCRIPTORS = 500
"""What is left of the limit of open files for listeners, threads and idle connections to servers."""


def surroundings(settings: Settings) -> Process:
    """Whom the workers become, and how many connections the limit of open files allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = settings.connections if hard < 0 else max(100, (hard - OWN_DESCRIPTORS) // 2)
    return Process(_user() if os.geteuid() == 0 else "", min(settings.connections, most))


def _user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in USERS if name in known), "")


def launch(directory: Path, program: str, size: Bytes) -> subprocess.Popen[bytes]:
    """Start a master over what is in `directory`. Its standard output is the access log. `Unavailable`: no program.

    No file of it grows above `size`: the last bound of its logs, while no daemon is there to rotate them. The shell
    sets it and is gone: whoever lacks CAP_SYS_RESOURCE may limit itself, but not a worker that runs as another user.
    """
    found = shutil.which(program)
    if found is None:
        raise Unavailable(f"{program} is not installed", hint="apt-get install haproxy")
    argv = ["/bin/sh", "-c", 'ulimit -f "$0" && exec "$@"', str(size // 512), found]
    argv += ["-C", str(directory), "-W", "-S", f"unix@{MASTER}", "-f", CONFIG]
    with _appending(directory / ACCESS) as out, _appending(directory / ENGINE, fresh=True) as error:
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
                restore_signals=False,  # SIGXFSZ stays ignored: at its size limit the log loses lines, not the proxy
            )
        except OSError as failure:
            raise Unavailable(f"cannot run {program}: {failure.strerror}") from None
    # Ours, not HAProxy's: that one comes late, and is empty for a while in each reload.
    (directory / PID).write_text(f"{child.pid}\n")
    return child


@contextlib.contextmanager
def _appending(path: Path, *, fresh: bool = False) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def living(directory: Path) -> int | None:
    """The pid of the master over this directory, if it runs."""
    try:
        pid = int((directory / PID).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if is_ours(pid, directory) else None


def is_ours(pid: int, directory: Path) -> bool:
    """Whether this process is an engine over this directory, and no zombie."""
    argv = _command_line(pid)
    return b"-C" in argv and argv[argv.index(b"-C") + 1] == os.fsencode(directory) and b"-W" in argv


def _command_line(pid: int) -> list[bytes]:
    """Empty for a process that has ended and for the kernel's own.

    In the middle of an execve it is empty too, so we look again.
    """
    with contextlib.suppress(OSError):
        for _ in range(_LOOKS):
            if argv := Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]:
                return argv
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if state in "ZXx" or int(rest[5]) & _KERNEL_THREAD:
                break
    return []


def workers(directory: Path) -> list[int]:
    """Every process of an engine over this directory, its master among them. Looks at all: for rare moments."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names are wanted
    return [pid for pid in pids if is_ours(pid, directory)]


async def ended(pid: int, directory: Path) -> None:
    """Return once this engine's process has ended, woken by its pidfd."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_ours(pid, directory):
            await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def kill(pid: int, directory: Path, number: signal.Signals) -> None:
    """Send a signal to exactly this process, if it still is one of this engine."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if is_ours(pid, directory):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


async def released(directory: Path) -> None:
    """Workers whose master was killed give their listeners up by themselves; return when they have, or soon."""
    with anyio.move_on_after(_RELEASE):
        for pause in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
            if living(directory) is not None or not listeners(directory):
                return
            await anyio.sleep(pause)


def listeners(directory: Path) -> list[int]:
    """Processes of an engine over this directory that still accept connections, whether or not a master has them."""
    return [pid for pid in workers(directory) if _listens(pid)]


def _listens(pid: int) -> bool:
    """Whether a process still has a listening TCP socket."""
    sockets = set[str]()
    with contextlib.suppress(OSError):
        sockets = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115  # no path
    rows = [row for name in ("tcp", "tcp6") for row in _rows(pid, name)]
    return any(row[3] == "0A" and f"socket:[{row[9]}]" in sockets for row in rows)


def _rows(pid: int, name: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    except OSError:
        return []


async def end(directory: Path, patience: Seconds = Seconds(3)) -> None:
    """End every process of the engine over this directory: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        found = workers(directory)
        for pid in found:
            kill(pid, directory, number)
        with anyio.move_on_after(patience):
            for pid in found:
                await ended(pid, directory)


def last_words(directory: Path) -> str:
    """What the engine complained of last, without its prefixes."""
    try:
        lines = (directory / ENGINE).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    alerts = [line.partition(" : ")[2] for line in lines if line.startswith("[ALERT]")]
    return "; ".join(alerts[-3:] or lines[-1:])
