"""What a new daemon makes of what its predecessor left: adopt what runs, finish what was begun, clear what is no one's.

The journal says how far each instance got, the engines say what there is. Where a create was cut off, the engine's
word wins. A container is never started twice: its id is its directory, and the runtime's create is idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog
from anyio.to_thread import run_sync

from zlayer.agent import journal
from zlayer.agent.journal import Record
from zlayer.agent.perform import Machine
from zlayer.agent.status import Mood
from zlayer.model.errors import ZlayerError
from zlayer.model.instance import InstanceStatus, State
from zlayer.model.units import Timestamp
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import Exit, Handle

log = structlog.get_logger(__name__)


async def recover(machine: Machine) -> dict[str, Record]:
    """The record of every instance with something on this node, brought up to date."""
    journals = await run_sync(_journals, machine.paths.containers)
    handles = {handle.id: handle for handle in await machine.runtime.list()}
    traces = handles.keys() | set(await machine.network.list()) | set(await machine.snapshots.list())
    records: dict[str, Record] = {}
    for instance_id in sorted(journals.keys() | traces):
        record = journals.get(instance_id) or Record()
        records[instance_id] = await _recover(machine, instance_id, record, handles)
    return records


def remembered(record: Record, told: InstanceStatus | None, now: Timestamp) -> Record:
    """A record with what only the store still knows: its journal was lost or torn, its directory deleted."""
    if told is None:
        return record
    if record == Record() and told.state > State.PREPARING:
        reason = told.reason if told.state.ended else "its directory is gone from the data directory"
        ended = _exit_told(told) or Exit(None, False, now)
        return Record(Stage.ENDED, created=True, exit=ended, failed=told.state is not State.EXITED, reason=reason)
    if record.stage >= Stage.ENDED and record.exit is not None and record.exit.code is None:
        return replace(record, exit=_exit_told(told) or record.exit)
    if record.stage is Stage.STARTED and told.started_at is not None:
        return replace(record, started_at=told.started_at, ready_at=told.ready_at or record.ready_at)
    return record


def _exit_told(told: InstanceStatus) -> Exit | None:
    return Exit(told.exit_code, told.oom, told.finished_at) if told.finished_at is not None else None


def widowed(record: Record, now: Timestamp) -> Record:
    """One that waits for a client of an earlier daemon has ended before it began."""
    if record.stage >= Stage.STARTED:
        return record
    reason = "the client went away before it started"
    return record.at(Stage.ENDED, exit=Exit(None, False, now), failed=True, reason=reason)


def mood_of(told: InstanceStatus | None) -> Mood:
    """The last verdict on its health stands until there is a new one: a sick replica must not pass for a ready one."""
    if told is None or not State.RUNNING <= told.state < State.STOPPING:
        return Mood()
    return Mood(told.health, told.reason if told.health == "unhealthy" else "")


def _journals(containers: Path) -> dict[str, Record]:
    containers.mkdir(mode=0o711, parents=True, exist_ok=True)
    found: dict[str, Record] = {}
    for directory in containers.iterdir():
        if directory.name.startswith(".trash-"):
            continue  # swept by the agent in the background
        if directory.is_dir():
            found[directory.name] = journal.load(directory) or Record()
    return found


async def _recover(
    machine: Machine,
    instance_id: str,
    record: Record,
    handles: Mapping[str, Handle],
) -> Record:
    if record.stage >= Stage.ENDED:
        return record
    handle = record.handle or handles.get(instance_id)
    now = Timestamp(machine.clock())
    if handle is None:
        return record
    try:
        seen = await machine.runtime.recover(handle)
    except ZlayerError as error:
        log.warning("recover.failed", instance=instance_id, error=error.message)
        return record.at(Stage.ENDED, created=True, handle=handle, exit=Exit(None, False, now), reason=error.message)
    match seen.phase:
        case "running":
            if record.stage is Stage.STARTED:
                return record
            return record.at(Stage.STARTED, created=True, handle=handle, started_at=now)
        case "created":
            return record.at(Stage.CREATED, created=True, handle=handle)
        case "exited":
            ended = seen.exit or Exit(None, False, now)
            reason = "" if ended.code is not None else "ended while nobody watched; its exit code is not known"
            return record.at(Stage.ENDED, created=True, handle=handle, exit=ended, reason=reason)
        case "absent":
            if record.stage < Stage.CREATED:
                return record
            gone = Exit(None, False, now)
            return record.at(Stage.ENDED, created=True, handle=handle, exit=gone, reason="the container vanished")
