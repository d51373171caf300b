"""conmon: one small monitor per container. It holds stdio, writes the log and the exit code, and outlives us.

Spoken to as containers/conmon 2.1 has it: `_OCI_SYNCPIPE` carries one JSON line with the pid or the engine's words.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from zlayer.model.errors import Deadline, Failed
from zlayer.runtime.oci import spawn
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.processes import command_line, readable

_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Monitored:
    """How a container is to be watched. `lock` is the descriptor conmon keeps open for its life."""

    id: str
    layout: Layout
    tty: bool
    stdin: bool
    program: str
    log_segment: int
    """conmon starts a new log file before one gets longer than this many bytes."""
    carry: Sequence[Path] | None = None
    """The paths whose mounts it needs; None: whatever there is."""


def argv_of(conmon: str, engine: Engine, what: Monitored) -> list[str]:
    layout = what.layout
    argv = [
        conmon, "--api-version", "1", "-c", what.id, "-u", what.id, "-n", what.id,
        "-r", engine.path, "--runtime-arg", "--root", "--runtime-arg", str(engine.state),
        "-b", str(layout.bundle), "-p", str(layout.pid_file), "-P", str(layout.monitor_pid_file),
        "--persist-dir", str(layout.bundle), "--full-attach", "--no-sync-log",
        "-l", f"k8s-file:{layout.log}", "--log-size-max", str(what.log_segment), "--log-level", "error",
    ]  # fmt: skip
    return argv + (["-t"] if what.tty else []) + (["-i"] if what.stdin else [])


async def launch(conmon: str, engine: Engine, what: Monitored, *, lock: int, timeout: float) -> int:
    """Start a monitor, which creates the container; returns the pid of its first process.

    `Failed` carries the engine's words. `Deadline` when nothing was said for `timeout` seconds: the caller cleans up.
    """
    read, write = os.pipe()
    child: subprocess.Popen[bytes] | None = None
    try:
        os.set_blocking(read, False)
        try:
            start = partial(
                spawn.start,
                argv_of(conmon, engine, what),
                stdio=(subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL),
                cwd=what.layout.bundle,
                pass_fds=(write, lock),
                env={**spawn.environment(), "_OCI_SYNCPIPE": str(write)},
            )
            child = await engine.begin(start, what.carry)
        finally:
            os.close(write)
        try:
            with anyio.fail_after(timeout):
                line = await _line(read)
                await spawn.reap(child)
        except TimeoutError as error:
            raise Deadline(
                f"{engine.name} did not create {what.id} within {timeout:g} s",
                hint="the machine may be overloaded; it is tried again",
            ) from error
        return _pid(line, engine, what)
    finally:
        os.close(read)
        if child is not None and child.returncode is None:
            await spawn.kill(child)


async def _line(fd: int) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < _LARGEST_ANSWER:
        await readable(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data


def _pid(line: bytes, engine: Engine, what: Monitored) -> int:
    try:
        answer = json.loads(line)
        pid, words = int(answer["data"]), str(answer.get("message", ""))
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(
            f"conmon ended without creating {what.id}", hint="run `zlayer doctor`; is conmon 2.1 or newer installed?"
        ) from error
    if pid > 0:
        return pid
    raise engine.refusal("create", words, program=what.program)


def find(layout: Layout) -> list[int]:
    """Pids of the conmon and the engine that were given this bundle. Looks at every process: the rare, blocking way."""
    wanted = os.fsencode(layout.bundle)
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names are wanted
    return [pid for pid in pids if wanted in command_line(pid)]
