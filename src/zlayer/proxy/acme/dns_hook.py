"""dns-01 by a program of the user's: `HOOK present|cleanup RECORD VALUE`.

It gets no environment but PATH, HOME and LANG, no stdin, and DEADLINE seconds; its process group ends with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from zlayer.model.errors import Deadline, Failed, Unsupported
from zlayer.proxy.acme.refusals import plain

DEADLINE = 120.0
"""DNS providers take their time; a hook returns when the record can be looked up."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
TOLD = 300
"""Characters of its output worth telling."""


class ProgramHook:
    """The `DnsHook` that runs `program`, one call at a time."""

    def __init__(self, program: Path, *, deadline: float = DEADLINE) -> None:
        self._program = program
        self._deadline = deadline
        self._limiter: anyio.CapacityLimiter | None = None

    async def present(self, record: str, value: str) -> None:
        await self._run("present", record, value)

    async def cleanup(self, record: str, value: str) -> None:
        await self._run("cleanup", record, value)

    async def _run(self, what: str, record: str, value: str) -> None:
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        argv = [str(self._program), what, record, value]
        await anyio.to_thread.run_sync(_call, argv, self._deadline, limiter=self._limiter)


def _call(argv: list[str], deadline: float) -> None:
    name = f"{argv[0]} {argv[1]} {argv[2]}"
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise Unsupported(
            f"{argv[0]} cannot be run: {error.strerror}", hint="see dns_hook in [acme] of config.toml"
        ) from None
    with process:
        try:
            said, _ = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise Deadline(f"{name} took longer than {deadline:g} s", hint="it must end by itself") from None
        finally:
            with suppress(ProcessLookupError):  # what it left behind goes with it
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        told = plain(said.decode("utf-8", "replace"))[-TOLD:]
        raise Failed(f"{name} ended with {process.returncode}: {told or 'it said nothing'}", hint="see the hook itself")
