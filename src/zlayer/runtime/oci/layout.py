"""Where a container keeps its things, and the record that says it was made.

`record.json` appears, whole, after the engine has said "created" and before `create` returns; so a container without
one never ran anything and may be thrown away. Nothing is fsynced: after a power loss no container is left anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from zlayer.model.errors import Corrupt
from zlayer.runtime.contract import Handle
from zlayer.runtime.oci import smallfiles
from zlayer.runtime.oci.processes import Process

BUNDLE, LOG = "bundle", "log"


@dataclass(frozen=True)
class Layout:
    """Paths below one container's directory. `bundle` goes with `remove`; `log` stays."""

    directory: Path

    @cached_property
    def bundle(self) -> Path:
        return self.directory / BUNDLE

    @cached_property
    def config(self) -> Path:
        return self.bundle / "config.json"

    @cached_property
    def record(self) -> Path:
        return self.bundle / "record.json"

    @cached_property
    def pid_file(self) -> Path:
        """Written by the engine: the first process."""
        return self.bundle / "pid"

    @cached_property
    def monitor_pid_file(self) -> Path:
        return self.bundle / "conmon.pid"

    @cached_property
    def lock(self) -> Path:
        """Held (flock) by conmon for its whole life, through a descriptor it inherits."""
        return self.bundle / "lock"

    @cached_property
    def exit(self) -> Path:
        """Written by conmon when all has ended: the exit code in decimal."""
        return self.bundle / "exit"

    @cached_property
    def oom(self) -> Path:
        """Made by conmon when the kernel killed something of it for memory."""
        return self.bundle / "oom"

    @cached_property
    def control(self) -> Path:
        """conmon's FIFO: `1 ROWS COLUMNS` resizes the terminal, `2 0 0` opens the log again."""
        return self.bundle / "ctl"

    @cached_property
    def log_dir(self) -> Path:
        return self.directory / LOG

    @cached_property
    def log(self) -> Path:
        return self.log_dir / "container.log"

    def prepare(self) -> None:
        """Make the directories. What an earlier, unfinished create left in the bundle must be gone by now."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (self.bundle, self.log_dir):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)

    def discard(self) -> None:
        """Delete the bundle. Idempotent. Renamed first, so that a half-deleted one is never taken for whole."""
        gone = self.directory / f".{BUNDLE}-removed"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(gone)
        with contextlib.suppress(FileNotFoundError):
            self.bundle.rename(gone)
            shutil.rmtree(gone)


@dataclass(frozen=True, slots=True)
class Record:
    """What `create` leaves for every later process of ours. `boot` tells pids of this boot from those of another."""

    handle: Handle
    boot: str
    init: str
    """`processes.executable` of the engine's waiting init: while it is the same, the container has not started."""
    cgroup: str
    engine: str
    log_max_size: int
    tty: bool
    stdin: bool

    @property
    def process(self) -> Process:
        return Process(self.handle.pid, self.handle.pid_start)

    @property
    def monitor(self) -> Process:
        return Process(self.handle.monitor_pid, self.handle.monitor_start)


@lru_cache(maxsize=256)
def layout_of(directory: str) -> Layout:
    """The layout of a handle's directory; kept, as joining paths adds up."""
    return Layout(Path(directory))


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_record(layout: Layout, record: Record) -> None:
    """Make the record visible, whole or not at all."""
    fields = {name: getattr(record, name) for name in Record.__slots__}
    write_whole(layout.record, json.dumps(fields | {"handle": asdict(record.handle)}))


def read_record(layout: Layout) -> Record | None:
    """The record, or None when the container was never made or is removed. `Corrupt` when it cannot be read."""
    try:
        text = smallfiles.read(layout.record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fields: dict[str, Any] = json.loads(text)  # Any: a JSON document
        return Record(**{**fields, "handle": Handle(**fields["handle"])})
    except (ValueError, TypeError, KeyError) as error:
        hint = "remove the instance; its directory was changed by something else"
        raise Corrupt(f"cannot read {layout.record}: {error}", hint=hint) from error


def write_whole(path: Path, text: str) -> None:
    """Replace a file by a rename."""
    draft = path.with_name(path.name + ".new")
    smallfiles.write(draft, text.encode())
    draft.rename(path)


def read_number(path: Path) -> int | None:
    """A file that holds one decimal number; None when it is not there or not written yet."""
    try:
        return int(smallfiles.read(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def exit_seen(layout: Layout) -> tuple[int, float] | None:
    """(code, time) from conmon's exit file; None while there is none. conmon renames it into place: it is whole."""
    code = read_number(layout.exit)
    if code is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        return code, os.stat(layout.exit).st_mtime  # noqa: PTH116  # one call, hot path
    return None
