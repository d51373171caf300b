"""What a new daemon makes of what its predecessor left: adopt what runs, finish what was begun, clear what is no one's.

The journal says how far each instance got, the engines say what there is. Where a create was cut off, the engine's
word wins. A container is never started twice: its id is its directory, and the runtime's create is idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog
from anyio.to_thread import run_sync

from zlayer.agent import journal
from zlayer.agent.journal import Record
from zlayer.agent.perform import Machine
from zlayer.model.base import Timestamp
from zlayer.model.errors import ZlayerError
from zlayer.model.instance import Instance
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import Exit, Handle

log = structlog.get_logger(__name__)


async def recover(machine: Machine, instances: Mapping[str, Instance]) -> dict[str, Record]:
    """The record of every instance with something on this node, brought up to date."""
    journals = await run_sync(_journals, machine.paths.containers)
    handles = {handle.id: handle for handle in await machine.runtime.list()}
    traces = handles.keys() | set(await machine.network.list()) | set(await machine.snapshots.list())
    records: dict[str, Record] = {}
    for instance_id in sorted(journals.keys() | traces):
        record = journals.get(instance_id) or Record()
        records[instance_id] = await _recover(machine, instance_id, record, handles, instances)
    return records


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
    instances: Mapping[str, Instance],
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
            instance = instances.get(instance_id)
            if instance is not None and instance.await_attach:
                ended = Exit(None, False, now)
                reason = "the client went away before it started"
                return record.at(Stage.ENDED, created=True, handle=handle, exit=ended, failed=True, reason=reason)
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
