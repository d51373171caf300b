"""Looking whether what is kept is whole, and mending it: bad content is dropped and pulled again.

Order of a repair, so that it may be cut off anywhere: records are written again from memory; bad blobs go (they are
worth nothing) and are pulled; only then a bad tree goes and is unpacked from blobs that are here. What is cut off
leaves content missing, which the next pull, start or repair brings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio import to_thread

from zlayer.image.collect import Stores
from zlayer.image.contract import Fault, Image, OnProgress, Verified
from zlayer.image.pull_process import run_job
from zlayer.image.records import Record, Records
from zlayer.image.verify_order import Findings, Kept, VerifyOrder, fault
from zlayer.model.errors import ZlayerError

InUse = Callable[[], Collection[str]]
GONE = "it is missing"
IN_USE = "an instance runs on it: remove the deployments that do, then repair again"


@dataclass(frozen=True, slots=True)
class Hands:
    """What `LocalImages` lends. `again` pulls a record's content by its digest; `pull` a lost image by its name."""

    root: Path
    stores: Stores
    records: Records
    writing: anyio.Lock
    workers: anyio.CapacityLimiter
    find: Callable[[str], Record]
    again: Callable[[Record, bool, OnProgress], Awaitable[None]]
    pull: Callable[[str, str], Awaitable[Image]]


class LocalUpkeep:
    """`Upkeep` over the stores of a `LocalImages`."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def verify(
        self,
        references: Sequence[str],
        *,
        repair: bool = False,
        in_use: InUse = tuple,
        on_progress: OnProgress | None = None,
    ) -> Verified:
        tell = on_progress or (lambda _progress: None)
        records = [self._hands.find(one) for one in references] or self._hands.records.all()
        found = await self._look(records, everything=not references, tell=tell)
        faults = found.faults
        if repair and any(one.bad for one in faults):
            faults = await self._repair(records, faults, in_use, tell)
        return Verified(len(records), found.blobs, found.layers, found.size, faults)

    async def _look(self, records: Sequence[Record], *, everything: bool, tell: OnProgress) -> Findings:
        kept = tuple(Kept(r.image.reference, r.image.digest, r.image.layers, r.blobs) for r in records)
        order = VerifyOrder(self._hands.root, kept, everything)
        async with self._hands.workers:
            found = Findings.read(await run_job(order.document(), tell))
        known = {record.image.reference for record in self._hands.records.all()}
        # What was removed meanwhile is no fault.
        held = (one for one in found.faults if known & set(one.images) or (not one.images and one.problem != GONE))
        return replace(found, faults=(*self._records(records, everything=everything), *held))

    def _records(self, records: Sequence[Record], *, everything: bool) -> Iterable[Fault]:
        wanted = {record.key for record in records}
        for file, record in self._hands.records.faulty():
            if record is None and everything:
                key = self._hands.records.salvage(file)
                yield fault("record", file.name, "it is damaged", [key[0]] if key else [])
            elif record is not None and record.key in wanted:
                yield fault("record", file.name, "it is damaged or missing", [record.image.reference])

    async def _repair(
        self, records: Sequence[Record], faults: Sequence[Fault], in_use: InUse, tell: OnProgress
    ) -> tuple[Fault, ...]:
        """Mend, then look again at what had faults: what is found again has stayed."""
        notes: dict[str, str] = {}
        bad = [one for one in faults if one.bad]
        await self._mend_records(bad, notes)
        async with self._hands.writing:
            for one in bad:
                if one.kind == "blob":
                    await to_thread.run_sync(self._hands.stores.blobs.remove, one.name)
        names = {name for one in bad for name in one.images if one.kind != "record"}
        touched = [record for record in records if record.image.reference in names]
        for record in touched:
            await self._pull(record, bad, notes, tell)
        for record in touched:
            await self._replace_trees(record, bad, in_use, notes)
            await self._pull(record, bad, notes, tell)
        await self._drop_loose(bad)
        again = await self._look(touched, everything=False, tell=tell) if touched else None
        stayed = {(one.kind, one.name) for one in (again.faults if again else ())}
        stayed |= {("record", file.name) for file, _ in self._hands.records.faulty()}
        return tuple(_outcome(one, stayed, notes) if one.bad else one for one in faults)

    async def _mend_records(self, bad: Sequence[Fault], notes: dict[str, str]) -> None:
        """Memory knows better than the disk; one that memory does not know is pulled by its name, or dropped."""
        files = {file.name: (file, record) for file, record in self._hands.records.faulty()}
        for one in bad:
            if one.kind != "record" or one.name not in files:
                continue
            file, record = files[one.name]
            try:
                if record is not None:
                    async with self._hands.writing:
                        await to_thread.run_sync(self._hands.records.put, record)
                elif (key := self._hands.records.salvage(file)) is not None:
                    await self._hands.pull(*key)
                else:
                    file.unlink(missing_ok=True)
                    notes[one.name] = "dropped: it does not say which image it was of; pull that again"
            except ZlayerError as error:
                notes[one.name] = str(error)

    async def _pull(self, record: Record, bad: Sequence[Fault], notes: dict[str, str], tell: OnProgress) -> None:
        mine = [one for one in bad if record.image.reference in one.images and one.kind != "record"]
        try:
            await self._hands.again(record, any(one.kind in ("blob", "layer") for one in mine), tell)
        except ZlayerError as error:
            notes.update({one.name: str(error) for one in mine})

    async def _replace_trees(self, record: Record, bad: Sequence[Fault], in_use: InUse, notes: dict[str, str]) -> None:
        """Drop trees that nobody runs on and whose packed layers are here to unpack again."""
        trees = {one.name for one in bad if one.kind == "layer"} & set(record.image.layers)
        async with self._hands.writing:
            running = set(in_use())
            held = {
                layer
                for one in self._hands.records.all()
                if {one.image.digest, one.image.index_digest} & running
                for layer in one.image.layers
            }
            for diff_id in trees:
                if not await to_thread.run_sync(self._hands.stores.layers.fault, diff_id):
                    continue  # mended for another image
                if diff_id in held:
                    notes[diff_id] = IN_USE
                elif all(map(self._hands.stores.blobs.has, record.blobs)):
                    await to_thread.run_sync(self._hands.stores.layers.remove, diff_id)

    async def _drop_loose(self, bad: Sequence[Fault]) -> None:
        """Layers that no image stands on are not worth mending."""
        async with self._hands.writing:
            held = self._hands.records.layers()
            for one in bad:
                if one.kind == "layer" and not one.images and one.name not in held:
                    await to_thread.run_sync(self._hands.stores.layers.remove, one.name)


def _outcome(one: Fault, stayed: Collection[tuple[str, str]], notes: dict[str, str]) -> Fault:
    if (one.kind, one.name) in stayed:
        return replace(one, state="stayed", note=notes.get(one.name, "pull the image again"))
    return replace(one, state="repaired", note=notes.get(one.name, "") if one.kind == "record" else "")
