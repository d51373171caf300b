"""The node's own record of how far each instance got: one append-only file per instance, one JSON line per step.

Local and cheap (an append of some 300 bytes, no fsync): it has to survive the daemon, not the machine. After a power
cut every container is gone anyway, and a lost line only repeats an idempotent step.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zlayer.model.units import Timestamp
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import Exit, Handle

NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """`created`: a create was begun, so the runtime may know the id. `failed`: it ended without ever having run."""

    stage: Stage = Stage.NEW
    created: bool = False
    image_digest: str = ""
    handle: Handle | None = None
    started_at: Timestamp | None = None
    ready_at: Timestamp | None = None
    exit: Exit | None = None
    failed: bool = False
    reason: str = ""

    def at(self, stage: Stage, **changes: Any) -> Record:  # Any: the fields above, checked by replace
        return replace(self, stage=stage, **changes)

    def line(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        for name in ("handle", "exit"):
            value = fields[name]
            fields[name] = None if value is None else {key: getattr(value, key) for key in value.__slots__}
        return json.dumps(fields, separators=(",", ":"))


def parse(line: str) -> Record:
    """Raises ValueError, KeyError or TypeError for a line that is not whole."""
    raw = json.loads(line)
    raw["stage"] = Stage(raw["stage"])
    raw["handle"] = Handle(**raw["handle"]) if raw["handle"] else None
    raw["exit"] = Exit(**raw["exit"]) if raw["exit"] else None
    return Record(**raw)


def append(directory: Path, record: Record) -> None:
    """Add a step. The directory is made when missing. OSError when the disk says no: the step is then not recorded.

    The line break comes before the line, so that it stands apart from one that was torn before it.
    """
    path = f"{directory}/{NAME}"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, flags, 0o600)
    data = b"\n" + record.line().encode()
    try:
        if os.write(fd, data) < len(data):  # the disk was full in the middle of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(fd)


def load(directory: Path) -> Record | None:
    """The last whole line: a torn one (the disk was full) is as if the step had not been recorded."""
    try:
        lines = (directory / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return parse(line)
        except (ValueError, KeyError, TypeError):
            continue
    return None
