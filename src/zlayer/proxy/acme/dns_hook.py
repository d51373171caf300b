"""dns-01 by a program of the user's: `HOOK present|cleanup RECORD VALUE`.

It gets no environment but PATH, HOME and LANG, no stdin, and DEADLINE seconds; its process group ends with it. What
it says goes to a file, so that one that leaves something running or never stops talking holds nobody up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import anyio

from zlayer.model.errors import Deadline, Exhausted, Failed, Unsupported
from zlayer.proxy.acme.refusals import plain

DEADLINE = 120.0
"""DNS providers take their time; a hook returns when the record can be looked up."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
TOLD = 300
"""Bytes of its output, the last ones, worth telling."""


class ProgramHook:
    """The `DnsHook` that runs `program`, one call at a time. A caller that is cancelled ends it."""

    def __init__(self, program: Path, *, deadline: float = DEADLINE) -> None:
        self._program = program
        self._deadline = deadline
        self._turn = anyio.Lock()

    async def present(self, record: str, value: str) -> None:
        await self._run("present", record, value)

    async def cleanup(self, record: str, value: str) -> None:
        await self._run("cleanup", record, value)

    async def _run(self, what: str, record: str, value: str) -> None:
        argv = [str(self._program), what, record, value]
        with _place() as output:
            async with self._turn:
                code = await self._ended(argv, output)
            if code != 0:
                said = _last_words(output) or "it said nothing"
                raise Failed(f"{' '.join(argv[:3])} ended with {code}: {said}", hint="see the hook itself")

    async def _ended(self, argv: list[str], output: IO[bytes]) -> int:
        try:
            process = await anyio.open_process(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Unsupported(
                f"{argv[0]} cannot be run: {error.strerror}", hint="see dns_hook in [acme] of config.toml"
            ) from None
        try:
            with anyio.fail_after(self._deadline):
                return await process.wait()
        except TimeoutError:
            raise Deadline(
                f"{' '.join(argv[:3])} took longer than {self._deadline:g} s", hint="it must end by itself"
            ) from None
        finally:
            with suppress(ProcessLookupError):  # what it left behind goes with it
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.wait()


def _place() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise Exhausted(f"no temporary file for what the hook says: {error.strerror}", hint="free space") from None


def _last_words(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TOLD))
    return plain(output.read(TOLD).decode("utf-8", "replace"))
