"""Letting a created container run. See `engine.Engine.start_by` for why this mostly needs no command."""

from __future__ import annotations

import contextlib
import os

import anyio

from zlayer.model.errors import Failed
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import Record
from zlayer.runtime.oci.processes import executable, readable

_SECONDS = 30.0


def waits_for_start(engine: Engine, record: Record) -> bool:
    """Created and not started: the fifo is there and the first process is still the engine's own init.

    The second look tells one whose starter was killed after reading the fifo and before deleting it.
    """
    if engine.name == "youki":
        return record.process.alive() and executable(record.handle.pid) == record.init
    waits = os.path.exists(engine.fifo(record.handle.id))  # noqa: PTH110  # a string, asked at every start
    return waits and executable(record.handle.pid) == record.init


async def start(engine: Engine, record: Record) -> None:
    """Returns once the first process is about to execute the image's program. Started already: nothing happens."""
    if not waits_for_start(engine, record):
        return
    if engine.start_by == "read" and await _by_reading(engine, record):
        return
    if engine.start_by == "write" and _by_writing(engine, record):
        return
    done = await engine.run("start", record.handle.id, timeout=_SECONDS)
    if done.code != 0 and record.process.alive() and waits_for_start(engine, record):
        raise engine.refusal("start", done.output)


async def _by_reading(engine: Engine, record: Record) -> bool:
    """True when the waiting init has written its byte, or has ended while we waited for it."""
    path = engine.fifo(record.handle.id)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with anyio.fail_after(_SECONDS), record.process.opened() as ended:
            if ended is not None:
                await readable(fd, ended)
        with contextlib.suppress(BlockingIOError):
            os.read(fd, 16)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
    except TimeoutError as error:
        raise Failed(
            f"{record.handle.id} did not start within {_SECONDS:g} s", hint="the machine may be overloaded"
        ) from error
    finally:
        os.close(fd)
    return True


def _by_writing(engine: Engine, record: Record) -> bool:
    """True when the waiting init, which has the fifo open, was given its byte."""
    path = engine.fifo(record.handle.id)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, b"\0")
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
