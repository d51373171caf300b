"""Start a daemon that outlives its starter, and know whether it came up."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zlayer.api.services import Facts
from zlayer.daemon.options import Options
from zlayer.daemon.serve import prepare
from zlayer.model.errors import Deadline, Failed, ZlayerError, from_document
from zlayer.model.paths import Paths
from zlayer.model.units import Seconds

PATIENCE = Seconds(30)
"""How long a start may take, adoption of what runs included."""
PROGRAM = ("-m", "zlayer.daemon")
"""What the interpreter runs; it gets the data directory, the pipe's descriptor and the options."""


def start(
    paths: Paths, options: Options, *, patience: Seconds = PATIENCE, program: Sequence[str] = PROGRAM
) -> dict[str, Any]:  # Any: JSON values
    """Start a daemon in a session of its own; returns once it is ready, with its pid, socket and bind.

    Raises the daemon's own error when it does not come up, `Failed` with its last words when it died without one,
    and `Deadline` (the child is ended) after `patience`. The child tells through a pipe: no file is looked for.
    """
    prepare(paths)
    reader, writer = os.pipe()
    try:
        child = _spawn(paths, options, writer, program)
    finally:
        os.close(writer)
    try:
        answer = read_answer(reader, patience)
    finally:
        os.close(reader)
    if answer is None:
        child.kill()
        child.wait()
        raise Deadline(f"the daemon was not ready after {patience:.0f} seconds", hint=f"look at {paths.log}")
    if not answer:
        code = child.wait()
        raise Failed(f"the daemon ended at once with code {code}: {_tail(paths.log)}", hint=f"look at {paths.log}")
    document: dict[str, Any] = json.loads(answer)
    if "error" in document:
        child.wait()
        raise from_document(document["error"])
    return document


def _spawn(paths: Paths, options: Options, writer: int, program: Sequence[str]) -> subprocess.Popen[bytes]:
    words = os.open(paths.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", *program, str(paths.root), str(writer), options.dump()],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=(writer,),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(words)


def read_answer(descriptor: int, patience: Seconds) -> bytes | None:
    """What the child wrote until it closed the pipe; None when it took too long."""
    said = b""
    deadline = time.monotonic() + patience
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return said
        said += chunk


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2048))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[-1] if lines else "it said nothing"


class Told:
    """The child's end of the pipe: told once, ready or why not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self, facts: Facts) -> None:
        self._tell({"pid": facts.pid, "socket": facts.socket, "bind": facts.bind})

    def failed(self, error: ZlayerError) -> None:
        self._tell({"error": error.document()})

    def _tell(self, document: dict[str, Any]) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.write(descriptor, json.dumps(document).encode())
        except BrokenPipeError:  # our starter gave up; we go on
            return
        finally:
            os.close(descriptor)
