"""Images in memory: every reference exists, unless a test says otherwise."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import anyio
import anyio.to_thread

from zlayer.image.artifact_contract import Attached, Document, Referrer
from zlayer.image.contract import (
    Compression,
    Fault,
    FaultState,
    Image,
    ImageConfig,
    ImageUsage,
    OnProgress,
    Origin,
    Piece,
    Progress,
    Pushed,
    Totals,
    Usage,
    Verified,
    Want,
)
from zlayer.image.s3.standing import Standing
from zlayer.image.trust_contract import Trust
from zlayer.model.container import PullPolicy, SourcePolicy
from zlayer.model.errors import Conflict, Denied, Invalid, NotFound
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.fake_parcels import FakeParcels

REFUSED = "wrong"


def digest_of(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


TIER = Standing("s3://images/blobs/", "https://s3.example", "ok", "", Timestamp(1), 1, Bytes(5), "it is refused")


@dataclass(slots=True)
class FakeStorage:
    """A byte per image; nothing is shared. One blob waits for S3."""

    local: dict[str, Image]

    async def usage(self, in_use: Collection[str]) -> Usage:
        images = tuple(
            ImageUsage(one.reference, one.size, one.size, Bytes(0), one.digest in in_use, one.pulled_at)
            for one in self.local.values()
        )
        return Usage(images, Bytes(len(images)), Bytes(0), Bytes(0), Bytes(1), Bytes(2), TIER)

    async def tier(self) -> Standing:
        return TIER

    async def totals(self) -> Totals:
        return Totals(len(self.local), Bytes(len(self.local)), Bytes(0), Bytes(0), TIER)

    async def reclaim(self, in_use: Collection[str], want: Want, *, dry_run: bool = False) -> Sequence[Piece]:
        unused = [one for one in self.local.values() if one.digest not in in_use and (want.unused or want.bytes)]
        for one in () if dry_run else unused:
            del self.local[one.reference]
        return [Piece("image", one.reference, one.size, "nobody runs it") for one in unused]

    async def history(self, reference: str) -> Sequence[Origin]:
        if reference not in self.local:
            raise NotFound(f"no image {reference}", hint="pull it")
        return [Origin("2026-01-01T00:00:00Z", "RUN make", "", "sha256:1", Bytes(5))]


@dataclass(slots=True)
class FakeUpkeep:
    """`damaged` are names with a fault each; a repair mends all but those in use."""

    images: FakeImages

    async def verify(
        self,
        references: Sequence[str],
        *,
        repair: bool = False,
        in_use: Callable[[], Collection[str]] = tuple,
        on_progress: OnProgress | None = None,
    ) -> Verified:
        chosen = [self.images.local[name] for name in references] or list(self.images.local.values())
        faults = []
        for one in chosen:
            if on_progress is not None:
                on_progress(Progress(one.digest, "checking", Bytes(1), Bytes(1)))
            if one.reference in self.images.damaged:
                state: FaultState = "stayed" if one.digest in in_use() else "repaired"
                faults.append(
                    Fault("layer", one.digest, "it is damaged", (one.reference,), state if repair else "found")
                )
        return Verified(len(chosen), len(chosen), 0, Bytes(len(chosen)), tuple(faults))


@dataclass(slots=True)
class FakeArtifacts:
    """What was attached, by reference."""

    attached: dict[str, list[Document]]

    async def referrers(self, reference: str, *, kind: str = "") -> Sequence[Referrer]:
        return [
            Referrer(one.digest, one.type, "", Bytes(len(one.text)), digest_of(reference))
            for one in self.attached.get(reference, [])
            if kind in ("", one.type)
        ]

    async def attach(self, reference: str, source: int, *, kind: str, name: str = "") -> Attached:
        del name
        with os.fdopen(os.dup(source), "rb") as file:
            text = (await anyio.to_thread.run_sync(file.read)).decode()
        self.attached.setdefault(reference, []).append(Document(digest_of(text), kind, text))
        return Attached(digest_of(text), digest_of(reference), "tag")

    async def sbom(self, reference: str, *, kind: str = "") -> Document:
        for one in self.attached.get(reference, []):
            if kind in ("", one.type):
                return one
        raise NotFound(f"no SBOM of {reference}", hint="attach one")


@dataclass(slots=True)
class FakeImages:
    """`seconds` is how long a download takes; `fault` may raise for a reference; `serves` are moved tags' digests."""

    seconds: float = 0.0
    fault: Callable[[str], None] = lambda _reference: None
    serves: dict[str, str] = field(default_factory=dict)
    config: ImageConfig = field(default_factory=lambda: ImageConfig(cmd=("serve",)))
    local: dict[str, Image] = field(default_factory=dict)
    downloads: Counter[str] = field(default_factory=Counter)
    attached: dict[str, list[Document]] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    limits: list[Bytes | None] = field(default_factory=list)
    sources: list[SourcePolicy] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    """Logins: user names by registry. The password `REFUSED` is refused everywhere."""

    @property
    def stock(self) -> FakeStorage:
        return FakeStorage(self.local)

    @property
    def artifacts(self) -> FakeArtifacts:
        return FakeArtifacts(self.attached)

    @property
    def parcels(self) -> FakeParcels:
        return FakeParcels(self.local, self.content)

    @property
    def upkeep(self) -> FakeUpkeep:
        return FakeUpkeep(self)

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
        del on_progress
        self.limits.append(limit_rate)
        self.sources.append(source)
        policy = "never" if source == "local_only" else policy
        if policy in ("if_not_present", "never") and reference in self.local:
            return self.local[reference]
        if policy == "never":
            raise NotFound(f"image {reference} is not here", hint="pull it")
        self.fault(reference)
        await anyio.sleep(self.seconds)
        self.downloads[reference] += 1
        image = Image(
            reference=reference,
            digest=await self.resolve(reference),
            config=self.config,
            layers=(),
            platform=platform or "linux/amd64",
            size=Bytes(1),
            pulled_at=Timestamp(0),
        )
        self.local[reference] = image
        return image

    async def resolve(self, reference: str, *, platform: str | None = None) -> str:
        del platform
        self.fault(reference)
        _, _, pinned = reference.partition("@")
        return pinned or self.serves.get(reference) or digest_of(reference)

    async def tag(self, source: str, target: str) -> Image:
        image = replace(self._one(source), reference=target)
        self.local[target] = image
        return image

    async def push(self, source: str, target: str = "", *, on_progress: OnProgress | None = None) -> Pushed:
        image = self._one(source)
        name = target or image.reference
        self.fault(name)
        if on_progress is not None:
            on_progress(Progress(image.digest, "done", Bytes(1), Bytes(1)))
        self.serves[name] = image.digest
        return Pushed(name, image.digest, sent=1, platform=image.platform)

    async def export(self, references: Sequence[str], out: int, *, compression: Compression = "") -> None:
        del compression
        for reference in references:
            os.write(out, f"{self._one(reference).digest}\n".encode())

    async def import_archive(
        self, source: int, *, name: str = "", rootfs: bool = False, platform: str | None = None
    ) -> Sequence[Image]:
        del rootfs
        with os.fdopen(os.dup(source), "rb") as file:
            text = await anyio.to_thread.run_sync(file.read)
        if not name:
            raise Invalid("the archive gives it no name", hint="-t NAME")
        image = Image(
            name, digest_of(text.decode()), self.config, (), platform or "linux/amd64", Bytes(len(text)), Timestamp(0)
        )
        self.local[name] = image
        return [image]

    async def login(self, registry: str, username: str, password: str) -> str:
        if password == REFUSED:
            raise Denied(f"registry {registry} refused the credentials (401)", hint="check them")
        self.known[registry] = username
        return registry

    async def logout(self, registry: str) -> str:
        if self.known.pop(registry, None) is None:
            raise NotFound(f"not logged in to {registry}")
        return registry

    async def logins(self) -> Mapping[str, str]:
        return dict(self.known)

    def _one(self, reference: str) -> Image:
        if reference not in self.local:
            raise NotFound(f"no image {reference}", hint="pull it")
        return self.local[reference]

    async def trust(self, reference: str, *, platform: str | None = None) -> Trust:
        """Nothing is refused here."""
        digest = await self.resolve(reference, platform=platform)
        return Trust(reference, digest, reference in self.local, True, "", None, None)

    async def find(self, reference: str) -> Image | None:
        return self.local.get(reference)

    async def list(self) -> Sequence[Image]:
        return list(self.local.values())

    async def remove(self, reference: str, *, in_use: Sequence[str] = ()) -> Sequence[str]:
        image = self.local.get(reference)
        if image is None:
            raise NotFound(f"no image {reference}")
        if image.digest in in_use:
            raise Conflict(f"image {reference} is in use")
        del self.local[reference]
        return [reference]
