"""HAProxy's command line on a unix socket: a worker's own, or a worker's through the master's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio.abc import ByteStream

from zlayer.model.errors import Deadline, Unavailable
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy.difference import Command

PATIENCE = Seconds(20)
LONGEST_PATH = 100
"""Bytes of a socket's path that connect(2) surely takes; a longer one is reached through /proc."""
MASTER, WORKER = b"master> ", b"\n> "
NOBODY = b"Can't find the target"
_BATCH = 64
LAST_WORDS = Seconds(0.1)
"""How long an answer of a worker that has ended may still be on its way through the master."""
_PIECE = 1 << 18


async def ask(socket: Path, commands: Sequence[Command], *, master: bool = False, worker: int = 0) -> list[str]:
    """The answer to each command, in order. On the master's socket they are for the master or for that worker.

    `Unavailable`: nobody answers there, or it went away; what was carried out by then is not known.
    `Deadline`: not within `PATIENCE`.
    """
    answers: list[str] = []
    failure: Exception | None = None
    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                if worker:
                    tasks.start_soon(_cancel_once_gone, worker, tasks.cancel_scope)
                failure = await _talk(socket, commands, answers, master=master, worker=worker)
                tasks.cancel_scope.cancel()
    except TimeoutError:
        raise Deadline("HAProxy does not answer", hint="see engine.log beside its sockets") from None
    if failure is not None or len(answers) < len(commands):
        told = f"HAProxy does not answer: {failure or 'a worker has ended'}"
        raise Unavailable(told, hint="it is started again by the daemon") from failure
    return answers


async def _talk(
    socket: Path, commands: Sequence[Command], answers: list[str], *, master: bool, worker: int
) -> Exception | None:
    """Have the commands answered, as far as it goes; what ended it before."""
    via = f"@!{worker} " if worker else ""
    try:
        async with await _connect(socket) as stream:
            await stream.send(b"prompt\n")
            reader = _Answers(stream, MASTER if master else WORKER)
            await reader.next()
            for start in range(0, len(commands), _BATCH):
                batch = commands[start : start + _BATCH]
                await stream.send("".join(_line(command, via) for command in batch).encode())
                for _ in batch:
                    answers.append(await reader.next())  # noqa: PERF401  # what came before an end counts
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        return error
    return None


async def _cancel_once_gone(worker: int, scope: anyio.CancelScope) -> None:
    """The master does not tell us that the worker we asked has ended: its answer would never come."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(worker)
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
    await anyio.sleep(LAST_WORDS)
    scope.cancel()


def _line(command: Command, via: str) -> str:
    if not command.payload:
        return f"{via}{command.text}\n"
    return f"{via}{command.text} <<\n{command.payload}\n\n"


async def _connect(socket: Path) -> ByteStream:
    path = str(socket)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return await anyio.connect_unix(path)
    directory = os.open(socket.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        return await anyio.connect_unix(f"/proc/self/fd/{directory}/{socket.name}")
    finally:
        os.close(directory)


class _Answers:
    """Answers told apart by the prompt that follows each."""

    def __init__(self, stream: ByteStream, prompt: bytes) -> None:
        self._stream = stream
        self._prompt = prompt
        self._text = b""

    async def next(self) -> str:
        while (end := self._text.find(self._prompt)) < 0:
            if NOBODY in self._text:
                raise anyio.EndOfStream
            self._text += await self._stream.receive(_PIECE)
        found, self._text = self._text[:end], self._text[end + len(self._prompt) :]
        return found.decode(errors="replace")
