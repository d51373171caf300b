"""The daemon's end of a job: starts the worker process, passes its progress on, and never outlives or leaks it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from zlayer.image.contract import OnProgress, Progress, Pushed
from zlayer.image.pull_order import Pulled, PullOrder, order_document
from zlayer.image.push_order import PushOrder
from zlayer.model.errors import Failed, ZlayerError, from_document
from zlayer.model.units import Bytes

Json = dict[str, Any]  # Any: a JSON document
MAX_LINE = 64 * 1024 * 1024
COMMAND = (sys.executable, "-m", "zlayer.image.worker")
_STDERR_KEPT = 4000
_PATIENCE = 5
"""Seconds."""


async def run_pull(order: PullOrder, on_progress: OnProgress) -> Pulled:
    return pulled_of(await run_job(order_document(order), on_progress))


def pulled_of(result: Json) -> Pulled:
    return Pulled(**{**result, "layers": tuple(result["layers"]), "blobs": tuple(result["blobs"])})


async def run_push(order: PushOrder, on_progress: OnProgress) -> Pushed:
    result = await run_job(order.document(), on_progress)
    return Pushed(**{**result, "left": tuple(result["left"])})


async def run_job(order: Json, on_progress: OnProgress, *, inherit: Sequence[int] = ()) -> Json:
    """Do an order in a worker process. Cancelled: the worker is killed and reaped before this returns.

    `inherit` are descriptors that the order names.

    Errors: those of `image.contract`; `Failed` when the worker ended without an answer.
    """
    process = await anyio.open_process(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=inherit,
    )
    try:
        return await _talk(process, order, on_progress)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
                await _gone(process)
            await process.aclose()


async def _talk(process: Process, order: Json, on_progress: OnProgress) -> Json:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    stderr = bytearray()
    answer: Json | ZlayerError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_drain, process.stderr, stderr)
        try:
            await process.stdin.send(json.dumps(order).encode() + b"\n")
            answer = await _read(BufferedByteReceiveStream(process.stdout), on_progress)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            await process.wait()  # it died: its exit code tells more
        group.cancel_scope.cancel()
    if isinstance(answer, dict):
        return answer
    raise answer or _died(process.returncode or 0, bytes(stderr))


async def _read(stream: BufferedByteReceiveStream, on_progress: OnProgress) -> Json | ZlayerError:
    while True:
        document: Json = json.loads(await stream.receive_until(b"\n", MAX_LINE))
        if "progress" in document:
            digest, phase, done, total = document["progress"]
            on_progress(Progress(digest, phase, Bytes(done), Bytes(total)))
        elif "error" in document:
            return from_document(document["error"])
        else:
            return dict(document["result"])


async def _gone(process: Process) -> None:
    """Wait for the processes that a killed worker had: the last to go closes what they all say faults on."""
    assert process.stderr is not None
    with anyio.move_on_after(_PATIENCE), suppress(anyio.ClosedResourceError):
        await _drain(process.stderr, bytearray())


async def _drain(stream: ByteReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk
        del into[:-_STDERR_KEPT]


def _died(code: int, stderr: bytes) -> Failed:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    last = stderr.decode(errors="replace").strip().splitlines()
    why = f": {last[-1]}" if last else ""
    return Failed(
        f"the image worker {how} before it was done{why}",
        hint="pull again; it goes on where it stopped. If it was SIGKILL, look for the OOM killer in dmesg",
    )
