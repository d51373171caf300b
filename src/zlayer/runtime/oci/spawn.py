"""Starting programs without forking Python: subprocess's vfork path (never preexec_fn), waiting by pidfd.

asyncio's own subprocess costs a watcher thread per child on Python 3.11; this costs none.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from zlayer.model.errors import Deadline, Unavailable
from zlayer.runtime.oci.processes import readable


@dataclass(frozen=True, slots=True)
class Completed:
    """`code` is negative for a signal, as in subprocess. `output` is stdout and stderr together."""

    code: int
    output: str


def environment() -> dict[str, str]:
    """What engines are given of our environment: enough to find programs, nothing of secrets."""
    kept = ("PATH", "XDG_RUNTIME_DIR", "LANG", "TMPDIR")
    return {"PATH": os.defpath, **{k: os.environ[k] for k in kept if k in os.environ}}


def start(
    argv: Sequence[str],
    *,
    stdio: tuple[int, int, int],
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own. Every descriptor but stdio and `pass_fds` is closed in it."""
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdio[0],
            stdout=stdio[1],
            stderr=stdio[2],
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            env=dict(env) if env is not None else environment(),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"cannot run {argv[0]}: {error.strerror}", hint=f"install {argv[0]}") from error


async def reap(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child and take its exit code. Returns at once if it has ended."""
    if (code := child.poll()) is not None:
        return code
    fd = os.pidfd_open(child.pid)
    try:
        await readable(fd)
    finally:
        os.close(fd)
    return child.wait()


async def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child for good and reap it; also when we are being cancelled."""
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    with anyio.CancelScope(shield=True):
        await reap(child)


Begin = Callable[[Callable[[], "subprocess.Popen[bytes]"]], Awaitable["subprocess.Popen[bytes]"]]
"""Calls what it is given, which starts a program, at a place of its choice."""


async def here(work: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    return work()


async def run(argv: Sequence[str], *, timeout: float, cwd: Path | None = None, begin: Begin = here) -> Completed:
    """Run a short command to its end. `Deadline` when it takes longer than `timeout` seconds; it is killed then."""
    read, write = os.pipe()
    child = None
    try:
        os.set_blocking(read, False)
        try:
            child = await begin(lambda: start(argv, stdio=(subprocess.DEVNULL, write, write), cwd=cwd))
        finally:
            os.close(write)
        with anyio.fail_after(timeout):
            text = await _drain(read, child)
            return Completed(await reap(child), text)
    except TimeoutError as error:
        raise Deadline(f"{' '.join(argv[:4])} took over {timeout:g} s", hint="the machine may be overloaded") from error
    finally:
        os.close(read)
        if child is not None and child.returncode is None:
            await kill(child)


async def _drain(fd: int, child: subprocess.Popen[bytes]) -> str:
    """Output until it closes or the child has ended: a grandchild may hold the pipe open for good."""
    chunks: list[bytes] = []
    ended = os.pidfd_open(child.pid)
    try:
        while True:
            await readable(fd, ended)
            over = child.poll() is not None
            try:
                while chunk := os.read(fd, 65536):
                    chunks.append(chunk)
                break
            except BlockingIOError:
                if over:
                    break
    finally:
        os.close(ended)
    return b"".join(chunks).decode(errors="replace")
