"""The images of one node: pulled once however many ask, found in memory, removed without harming another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from zlayer.image import platform as platforms
from zlayer.image.archive_order import ExportOrder, ImportOrder
from zlayer.image.artifact_order import RegistryArtifacts
from zlayer.image.blobs import BlobStore
from zlayer.image.collect import Stores, delete, garbage
from zlayer.image.contract import Compression, Image, OnProgress, Progress, Pushed
from zlayer.image.flights import Flights
from zlayer.image.layers import LayerStore
from zlayer.image.login_order import LoginOrder
from zlayer.image.logins import Logins, domain_of
from zlayer.image.parcels import LocalParcels, Outcome, Yard
from zlayer.image.pull_order import Pulled, PullOrder
from zlayer.image.pull_process import pulled_of, run_job, run_pull, run_push
from zlayer.image.push_order import PushOrder
from zlayer.image.records import Record, Records, image_of, mounts
from zlayer.image.reference import Reference, parse
from zlayer.image.s3.keeper import Keeper
from zlayer.image.settings import RegistrySettings
from zlayer.image.sources import Allow, absent, allowed
from zlayer.image.stock import Stock
from zlayer.image.trust_contract import Trust
from zlayer.image.trust_gate import Gate
from zlayer.image.trust_rules import Rule
from zlayer.image.upkeep import Hands, LocalUpkeep
from zlayer.model.container import PullPolicy, SourcePolicy
from zlayer.model.errors import Conflict, Deadline, Exhausted, Failed, Invalid, NotFound, Unavailable, ZlayerError
from zlayer.model.units import Bytes

log = structlog.get_logger()
WORKERS = 4
"""Pulls of different images at a time; each is a process."""
_ROUNDS = 3
_SWEEP_DEADLINE = 30.0


class LocalImages:
    """`Images` over registries, with `blobs/`, `layers/` and `images/` below `root` (the daemon's data directory).

    For one event loop, and one instance per data directory. Making it blocks for reading the records and for
    deleting what an earlier daemon's pulls had half-written; whole layers and resumable downloads stay.
    """

    def __init__(self, root: Path, settings: RegistrySettings | None = None, *, rules: Sequence[Rule] = ()) -> None:
        self._root = root
        self._settings = replace(settings or RegistrySettings(), auth_file=str(root / "registries.json"))
        self._logins = Logins(Path(self._settings.auth_file))
        self._stores = Stores(BlobStore(root / "blobs"), LayerStore(root / "layers"))
        self._records = Records(root / "images")
        self._records.load()
        self._stores.blobs.sweep()
        self._stores.layers.sweep()
        self._flights: Flights[Image] = Flights()
        self.keeper = Keeper(root, self._settings.s3, self._records.blobs) if self._settings.s3 else None
        self._guests = 0
        """Imports under way: like flights, they have content that no record stands on yet."""
        self._workers = anyio.CapacityLimiter(WORKERS)
        self.gate = Gate(rules, root / "trust", self._settings, self._workers)
        self.gate.sweep({digest for record in self._records.all() for digest in record.image.digests})
        self._writing = anyio.Lock()
        """Held while records change or layers go: a record never names a layer that is being deleted."""
        self._own = str(platforms.own())
        self.upkeep = LocalUpkeep(Hands(
            root, self._stores, self._records, self._writing, self._workers, find=self._one, again=self._again,
            pull=self._pull_lost,
        ))  # fmt: skip
        self.artifacts = RegistryArtifacts(root, self._settings, self._workers)
        self.parcels = LocalParcels(Yard(
            root, self._stores.blobs, self._settings, self._own, find=self._one, held=self._records.blobs,
            repack=self._repack, admit=self._admitted, settle=self._settle,
        ))  # fmt: skip
        self.stock = Stock(self._stores, self._records, self._writing, find=self._one, alone=self._alone,
            tier=self.keeper.standing if self.keeper else None)  # fmt: skip

    async def pull(
        self,
        reference: str,
        *,
        policy: PullPolicy = "if_not_present",
        platform: str | None = None,
        source: SourcePolicy = "local_first",
        limit_rate: Bytes | None = None,
        on_progress: OnProgress | None = None,
    ) -> Image:
        wanted = self._parse(reference)
        self.gate.name(wanted)
        settings = partial(allowed, self._settings, source, limit_rate, wanted.familiar)
        policy = "never" if source == "local_only" else policy
        with self.gate.telling():
            image = await self._present(wanted, self._asked(platform), policy, settings, on_progress)
        await self.gate.admit(wanted, image.digests)
        return image

    async def _present(
        self, wanted: Reference, asked: str, policy: PullPolicy, allow: Allow, report: OnProgress | None
    ) -> Image:
        """The image, pulled if need be; what a pull unpacks has passed the gate, what is local not yet."""
        local = self._local(wanted, asked)
        if local is not None:
            self.stock.touch(local.image.digest)
            if policy in ("if_not_present", "never"):
                return local.image
        if policy == "never":
            raise absent(wanted.familiar)
        settings = allow()
        try:
            return await self._flights.share(
                (wanted, asked, policy == "if_not_present", settings.limit_rate, settings.s3 is None),
                partial(self._fetch, wanted, asked, settings),
                report,
            )
        except (Unavailable, Deadline):
            # `newer` prefers what the registry has; that it cannot say now must not stop a deployment.
            if policy == "newer" and (kept := self._local(wanted, asked)):
                return kept.image
            raise

    async def resolve(self, reference: str, *, platform: str | None = None) -> str:
        del platform  # the index's own digest, where there is one: it stands for every platform
        wanted = self._parse(reference)
        self.gate.name(wanted)
        order = PullOrder(self._root, str(wanted), None, self._settings, (), resolve_only=True)
        async with self._workers:
            return (await run_pull(order, lambda _progress: None)).digest

    async def trust(self, reference: str, *, platform: str | None = None) -> Trust:
        records = self._matching(reference)
        named = self._parse(records[0].image.reference if records else reference)
        return await self.gate.report(named, records[0].image.digests if records else (), platform)

    async def tag(self, source: str, target: str) -> Image:
        wanted = self._target(target)
        async with self._writing:
            record = self._one(source)
            image = replace(record.image, reference=str(wanted))
            await self._put(Record(image, record.blobs, record.asked_platform), wanted)
            return image

    async def push(self, source: str, target: str = "", *, on_progress: OnProgress | None = None) -> Pushed:
        record = self._one(source)
        wanted = self._target(target or record.image.reference, pinned=not target)
        await self._repack(record, on_progress or (lambda _progress: None))
        order = PushOrder(
            self._root, str(wanted), record.image.digest, self._settings,
            mounts([record, *self._records.all()], self._parse, wanted),
            platform=record.image.platform, index_digest=record.image.index_digest,
        )  # fmt: skip
        async with self._workers:
            return await run_push(order, on_progress or (lambda _progress: None))

    async def export(self, references: Sequence[str], out: int, *, compression: Compression = "") -> None:
        records = [self._one(reference) for reference in references]
        for record in records:
            await self._repack(record)
        images = tuple((record.image.reference, record.image.digest) for record in records)
        order = ExportOrder(self._root, images, compression, out)
        async with self._workers:
            await run_job(order.document(), lambda _progress: None, inherit=(out,))

    async def import_archive(
        self, source: int, *, name: str = "", rootfs: bool = False, platform: str | None = None
    ) -> Sequence[Image]:
        asked = self._asked(platform)
        if rootfs and asked:
            raise Invalid("a root file system is of this machine's platform", hint="leave the platform out")
        wanted = str(self._target(name)) if name else ""
        if rootfs and not wanted:
            raise Invalid("a root file system has no name of its own", hint="give it one: -t NAME[:TAG]")
        order = ImportOrder(self._root, wanted, rootfs, self._settings, source, asked or None)

        async def work() -> Outcome:
            result = await run_job(order.document(), lambda _progress: None, inherit=(source,))
            return [(self._parse(one["reference"]), pulled_of(one["pulled"])) for one in result["images"]]

        return await self._settle(work, asked)

    async def _settle(self, work: Callable[[], Awaitable[Outcome]], asked: str) -> Sequence[Image]:
        """Keep what a worker makes of content that came from no registry. What it leaves half-written goes."""
        self._guests += 1
        whole = failed = False
        try:
            async with self._workers:
                made = await work()
            whole = True
            if self.keeper is not None:  # before there is a record: after a kill, nothing recorded stays away
                await self.keeper.offer({digest for _, pulled in made for digest in pulled.blobs})
            async with self._writing:
                return [await self._keep(reference, asked, pulled) for reference, pulled in made]
        except ZlayerError:
            failed = True
            raise
        finally:
            self._guests -= 1
            if not whole:
                with anyio.CancelScope(shield=True), anyio.move_on_after(_SWEEP_DEADLINE):
                    await to_thread.run_sync(self._sweep)
            if failed and self._alone():  # what has no record was ours
                async with self._writing:
                    await self._collect(None)

    async def login(self, registry: str, username: str, password: str) -> str:
        domain = domain_of(registry)
        async with self._workers:
            await run_job(LoginOrder(domain, username, password, self._settings).document(), lambda _progress: None)
        await to_thread.run_sync(self._logins.put, domain, username, password)
        return domain

    async def logout(self, registry: str) -> str:
        domain = domain_of(registry)
        await to_thread.run_sync(self._logins.drop, domain)
        return domain

    async def logins(self) -> Mapping[str, str]:
        return await to_thread.run_sync(self._logins.list)

    async def find(self, reference: str) -> Image | None:
        records = self._matching(reference)
        return records[0].image if records else None

    async def remove(self, reference: str, *, in_use: Sequence[str] = ()) -> Sequence[str]:
        async with self._writing:
            records = self._matching(reference)
            if not records:
                raise NotFound(f"no image {reference!r} on this node", hint="`zlayer image ls` shows what is here")
            for record in records:
                if record.image.digest in in_use:
                    raise Conflict(
                        f"image {record.image.reference} is in use by an instance",
                        hint="remove the deployments that use it first (`zlayer ps -c` names them)",
                    )
            # Images whose tag has moved on were kept for their instances alone: those without any go too.
            unused = [r for r in self._records.all() if r.superseded and r.image.digest not in in_use]
            gone = list({record.key: record for record in [*records, *unused]}.values())
            for record in gone:
                await to_thread.run_sync(self._records.drop, record)
            untagged = [f"untagged: {record.image.reference}" for record in gone]
            return [*untagged, *await self._collect(gone)]

    async def _repack(self, record: Record, report: OnProgress = lambda _progress: None) -> None:
        """Fetch compressed layers again that were given back for their space; from any name the image has."""
        if not all(map(self._stores.blobs.has, record.blobs)):
            await self._again(record, True, report)

    async def _again(self, record: Record, packed: bool, report: OnProgress) -> None:
        """Pull what is not here of a record's content, by its digest; from any name the image has."""
        names = [one.image.reference for one in self._records.all() if one.image.digest == record.image.digest]
        index = record.image.index_digest
        digest = index if index and not self._stores.blobs.has(index) else record.image.digest
        for last, name in enumerate(names, start=1 - len(names)):
            pinned = f"{self._parse(name).name}@{digest}"
            platform = record.asked_platform or None
            try:
                await self._work(PullOrder(self._root, pinned, platform, self._settings, packed=packed), report)
            except ZlayerError:
                if last == 0:
                    raise
            else:
                return

    async def _pull_lost(self, reference: str, asked: str) -> Image:
        """An image whose record is damaged."""
        return await self.pull(reference, policy="always", platform=asked or None)

    def _one(self, reference: str) -> Record:
        """The local image a person means."""
        records = self._matching(reference)
        if not records:
            raise NotFound(f"no image {reference!r} on this node", hint="`zlayer image ls` shows what is here")
        return records[0]

    def _target(self, text: str, *, pinned: bool = False) -> Reference:
        """A name to give: with a tag, unless the image has none itself."""
        wanted = self._parse(text)
        if wanted.digest and not pinned:
            raise Invalid(f"{text!r} names a digest, which nobody can choose", hint="write NAME or NAME:TAG")
        return wanted

    def _parse(self, reference: str) -> Reference:
        return parse(reference, self._settings.default_registry)

    def _admitted(self, text: str) -> Reference:
        """A name that its policy does not refuse as such."""
        self.gate.name(wanted := self._parse(text))
        return wanted

    def _asked(self, platform: str | None) -> str:
        """The key of a platform; empty for this machine's own, named or not."""
        asked = str(platforms.parse(platform)) if platform else ""
        return "" if asked == self._own else asked

    def _local(self, reference: Reference, asked: str) -> Record | None:
        """The record, if all its layers are still there."""
        record = self._records.get(str(reference), asked)
        if record is None and reference.digest:
            record = next(iter(self._records.digested(reference, asked)), None)
        if record is None or not all(map(self._stores.layers.has, record.image.layers)):
            return None
        return record

    def _matching(self, text: str) -> Sequence[Record]:
        """Records a person may mean: by name, by `name@digest`, else by a digest or a unique prefix of one."""
        try:
            reference = self._parse(text)
        except Invalid:
            reference = None
        if reference is not None:
            named = self._records.named(str(reference))
            if named or reference.digest:
                return named or self._records.digested(reference, None)
        found = self._records.by_prefix(text)
        if len(digests := {record.image.digest for record in found}) > 1:
            raise Invalid(f"{text!r} begins several digests", hint=f"give more digits: {', '.join(sorted(digests))}")
        if reference is None and not found and not text.removeprefix("sha256:").removeprefix("sha512:").isalnum():
            self._parse(text)  # neither a reference nor a digest: say what is wrong with it
        return found

    async def _fetch(self, reference: Reference, asked: str, settings: RegistrySettings, report: OnProgress) -> Image:
        """Run workers until the image is whole and recorded; a removal beside us may cost another round."""
        for _ in range(_ROUNDS):
            local = self._local(reference, asked)
            known = (local.image.digest, local.image.index_digest) if local else ()
            order = PullOrder(self._root, str(reference), asked or None, settings, tuple(filter(None, known)))
            pulled = await self._work(replace(order, rule=self.gate.signed(reference)), report)
            await self.gate.keep(reference, pulled.proof, (pulled.index_digest, pulled.digest))
            async with self._writing:
                if pulled.unchanged:
                    if local and self._local(reference, asked):
                        return local.image
                elif all(map(self._stores.layers.has, pulled.layers)):
                    return await self._keep(reference, asked, pulled)
        raise Failed(f"image {reference.familiar} is removed as fast as it is pulled", hint="pull again")

    async def _work(self, order: PullOrder, report: OnProgress) -> Pulled:
        """One worker process. What it left half-written goes, however it ends. What mirrors and S3 did is logged."""

        def told(progress: Progress) -> None:
            if progress.phase.startswith("failed"):
                log.warning("image source failed", source=progress.digest, image=order.reference, why=progress.phase)
            report(progress)

        async with self._workers:
            whole = False
            try:
                pulled = await run_pull(order, told)
                whole = True
                return pulled
            except Exhausted:
                if len(self._flights) == 1 and not self._guests and not self.parcels.expecting:  # ours fill it
                    async with self._writing:
                        await self._collect(None)
                raise
            finally:
                if self.keeper is not None:
                    self.keeper.wake()
                if not whole:
                    with anyio.CancelScope(shield=True), anyio.move_on_after(_SWEEP_DEADLINE):
                        await to_thread.run_sync(self._sweep)

    def _sweep(self) -> None:
        """What dead workers left half-written."""
        self._stores.layers.sweep()
        self._stores.blobs.sweep(dead=True)

    async def _keep(self, reference: Reference, asked: str, pulled: Pulled) -> Image:
        image = image_of(reference, pulled)
        await self._put(Record(image, pulled.blobs, asked), reference)
        return image

    async def _put(self, record: Record, reference: Reference) -> None:
        """What had the name before lives on under its digest until nobody runs it."""
        before = self._records.get(*record.key)
        if before is not None and before.image.digest != record.image.digest:
            named = f"{reference.name}@{before.image.digest}"
            kept = replace(before, image=replace(before.image, reference=named), superseded=True)
            await to_thread.run_sync(self._records.put, kept)
        await to_thread.run_sync(self._records.put, record)

    def _alone(self) -> bool:
        """No pull, import or parcel is under way, whose content no record stands on yet."""
        return not len(self._flights) and not self._guests and not self.parcels.expecting

    async def _collect(self, removed: Sequence[Record] | None) -> Sequence[str]:
        """Delete what the removed stood on alone; None, or nobody pulling: all that no record stands on."""
        waste = garbage(self._stores, self._records, None if removed is None or self._alone() else removed)
        return await to_thread.run_sync(delete, self._stores, waste)

    async def list(self) -> Sequence[Image]:  # last in the class: it hides the builtin of that name
        return [record.image for record in self._records.all()]
