"""Running one more program in a container: the engine's `exec` in the foreground, so that its exit code reaches us.

Without a terminal the three streams are pipes. With one, we hold the master of a pty whose slave the engine gets as
its own terminal: it makes another inside the container and copies. Sizes are set on both; the inner one is found by
the program's pid, which runc tells only after the program runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from zlayer.model.errors import Exhausted, Failed, Invalid
from zlayer.runtime.contract import ExecRequest, Session, Stream
from zlayer.runtime.oci import spawn
from zlayer.runtime.oci.config import user_section
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.inotify import CREATE, MODIFY, MOVED_TO, Inotify
from zlayer.runtime.oci.layout import Layout, Record, read_number
from zlayer.runtime.oci.processes import Process, children_of, identify
from zlayer.runtime.oci.streams import Descriptor, Reader
from zlayer.runtime.oci.users import resolve

_NOT_FOUND, _NOT_EXECUTABLE, _KILLED = 127, 126, 137
_GONE_SECONDS = 10.0
_END_SECONDS = 5.0
"""How long an exec that was refused without a reason waits for its container to end: that is the reason then."""
_SIZE_SECONDS = 1.0
"""How long input waits for the size set before it: an engine that hangs must not hide that the client hung up."""
_PTY_MAJORS = range(136, 144)


async def open_exec(engine: Engine, layout: Layout, record: Record, request: ExecRequest, inotify: Inotify) -> Session:
    """Start it; the program may not run yet when this returns.

    `Invalid` for a user the image does not have, `Exhausted` on a full disk.
    """
    if not request.argv or not request.argv[0]:
        raise Invalid("nothing to execute", hint="give a command")
    process = process_of(json.loads(layout.config.read_bytes()), request)
    scratch = _scratch(layout, process)
    argv = engine.argv(
        "exec", "--process", str(scratch / "process.json"), "--pid-file", str(scratch / "pid"), record.handle.id
    )
    ends = _terminal() if request.tty else _pipes(stdin=request.stdin)
    try:
        child = await engine.begin(lambda: spawn.start(argv, stdio=ends.theirs))
    except BaseException:
        ends.close_ours()
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        for fd in {*ends.theirs}:
            os.close(fd)
    return ExecSession(child, ends, scratch, record.process, inotify)


def _scratch(layout: Layout, process: dict[str, Any]) -> Path:  # Any: a JSON document
    """A directory of this exec, with what the engine is to start."""
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=_prefix(), dir=layout.bundle))
        (scratch / "process.json").write_text(json.dumps(process))
    except OSError as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        kind = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE) else Failed
        raise kind(
            f"cannot prepare the command: {error.strerror}", hint="look at the free space of the data directory"
        ) from error
    return scratch


def _prefix() -> str:
    """Of the scratch directories of this very process."""
    own = identify(os.getpid())
    return f"exec-{own.pid}-{own.start}-" if own else "exec-"


def process_of(config: dict[str, Any], request: ExecRequest) -> dict[str, Any]:  # Any: JSON documents
    """The container's own `process` with what the request changes."""
    process: dict[str, Any] = {**config["process"], "args": list(request.argv), "terminal": request.tty}
    variables = dict(pair.split("=", 1) for pair in process["env"])
    if request.tty:
        variables.setdefault("TERM", "xterm")
    if request.user is not None:
        user = resolve(Path(config["root"]["path"]), request.user)
        names = process["capabilities"]["bounding"] if user.uid == 0 else []
        process["user"] = user_section(user)
        process["capabilities"] = {**process["capabilities"], "effective": names, "permitted": names}
        variables["HOME"] = user.home
    if request.cwd is not None:
        process["cwd"] = request.cwd
    process["env"] = [f"{name}={value}" for name, value in {**variables, **request.env}.items()]
    return process


@dataclass(frozen=True, slots=True)
class Ends:
    """Our ends of the streams (`write` -1 without stdin), and the three descriptors the program gets."""

    read: tuple[tuple[Stream, int], ...]
    write: int
    theirs: tuple[int, int, int]
    terminal: bool

    def close_ours(self) -> None:
        for fd in {self.write, *(fd for _, fd in self.read)} - {-1}:
            os.close(fd)


def _pipes(*, stdin: bool) -> Ends:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    in_read, in_write = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1)
    return Ends((("stdout", out_read), ("stderr", err_read)), in_write, (in_read, out_write, err_write), terminal=False)


def _terminal() -> Ends:
    master, slave = pty.openpty()
    return Ends((("stdout", master),), os.dup(master), (slave, slave, slave), terminal=True)


class ExecSession:
    """A live exec. Leaving it kills the program and what it started in its session."""

    def __init__(
        self, child: subprocess.Popen[bytes], ends: Ends, scratch: Path, init: Process, inotify: Inotify
    ) -> None:
        self._child, self._ends, self._scratch, self._init = child, ends, scratch, init
        self._inotify = inotify
        self._reader = Reader(ends.read)
        self._writer = Descriptor(ends.write) if ends.write >= 0 else None
        self._said = b""
        self._size: tuple[int, int] | None = None
        """What the terminal inside has still to get."""

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._end()

    async def _end(self) -> None:
        if self._child.poll() is None:
            self._kill()
            with anyio.move_on_after(_GONE_SECONDS):
                await spawn.reap(self._child)
            if self._child.returncode is None:
                await spawn.kill(self._child)
        self._reader.close()
        self._shut()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _kill(self) -> None:
        """Kill what the engine has started, and all in its session, then the engine.

        The engine is stopped first: it may be starting the program just now, and keeps its children ours to find.
        """
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGSTOP)
            killed: set[Process] = set()
            while new := set(children_of(self._child.pid)) - killed:
                killed |= new
                for process in new:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.signal(signal.SIGKILL)
            self._child.kill()

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        async for stream, chunk in self._reader.chunks():
            if stream == "stderr":
                self._said = (self._said + chunk)[-4096:]
            self._size_inside(self._pid)
            yield stream, chunk

    async def send(self, data: bytes) -> None:
        if data and self._writer:
            if self._size and not self._writer.closed:
                await self._sized()
            await self._writer.write(data)

    async def _sized(self) -> None:
        """Return once the terminal inside has its size, or has none to be given."""
        with (
            self._inotify.watch((self._scratch, CREATE | MODIFY | MOVED_TO)) as changed,
            anyio.move_on_after(_SIZE_SECONDS),
        ):
            while (pid := self._pid) is None and self._child.poll() is None:
                await changed.wait()
                changed.clear()
            self._size_inside(pid)

    @property
    def _pid(self) -> int | None:
        """Of the program; None until the engine has said it."""
        return read_number(self._scratch / "pid")

    def _size_inside(self, pid: int | None) -> None:
        if self._size and set_size(pid, *self._size):
            self._size = None

    async def close_stdin(self) -> None:
        if not self._ends.terminal:
            self._shut()
        elif self._writer:
            await self._writer.write(b"\x04")  # a terminal has no end of file but its control character

    def _shut(self) -> None:
        if self._writer:
            self._writer.close()

    async def resize(self, rows: int, columns: int) -> None:
        if not self._ends.terminal or not self._writer or self._writer.closed:
            return
        self._size = (rows, columns)
        fcntl.ioctl(self._writer.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGWINCH)
        self._size_inside(self._pid)

    async def wait(self) -> int | None:
        async for stream, chunk in self._reader.chunks():
            if stream == "stderr":
                self._said = (self._said + chunk)[-4096:]
        code = await spawn.reap(self._child)
        if code < 0:
            return 128 - code
        if code != 0 and not (self._scratch / "pid").exists():
            return await self._why_refused()
        return code

    async def _why_refused(self) -> int:
        """Nothing of it ran: for what the engine says, or for the container's end, which may be a moment off still."""
        told = refused_code(self._said)
        with anyio.move_on_after(0 if told is not None else _END_SECONDS):
            await self._init.ended()
        return (told or _NOT_EXECUTABLE) if self._init.alive() else _KILLED


def set_size(pid: int | None, rows: int, columns: int) -> bool:
    """Give the terminal of a process inside its size, whose foreground programs then hear SIGWINCH. False: not yet.

    Its stdin is looked at before and after opening: only a pty is touched, whatever the process made of it.
    """
    if pid is None:
        return False
    path = f"/proc/{pid}/fd/0"
    with contextlib.suppress(OSError):
        if not _is_pty(os.stat(path)):  # noqa: PTH116  # a magic link
            return False
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if _is_pty(os.fstat(fd)):
                fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                return True
        finally:
            os.close(fd)
    return False


def _is_pty(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) in _PTY_MAJORS


def end_stale_execs(layout: Layout, inside: set[int]) -> None:
    """Kill what execs of an earlier daemon still run: nobody hears them. `inside` are the pids of the cgroup."""
    for scratch in layout.bundle.glob("exec-*"):
        if scratch.name.startswith(_prefix()):
            continue
        pid = read_number(scratch / "pid")
        if pid in inside and (process := identify(pid)):
            process.signal(signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)


def refused_code(words: bytes) -> int | None:
    """What shells and docker answer when a program could not be executed: 127 not found, 126 not executable.

    None when that is not what an engine's words are about: of a container that ends meanwhile, /proc or its cgroup is
    what has "no such file".
    """
    text = words.lower()
    if b"/proc/" in text or b"cgroup" in text:
        return None
    if b"permission denied" in text or b"is a directory" in text or b"exec format" in text:
        return _NOT_EXECUTABLE
    if b"not found" in text or b"no such file" in text:
        return _NOT_FOUND
    return None
