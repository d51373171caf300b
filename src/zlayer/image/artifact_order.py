"""What belongs to images at their registries: the daemon's end, and what passes between it and an image worker."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio

from zlayer.image.artifact_contract import Attached, Document, Referrer
from zlayer.image.pull_process import run_job
from zlayer.image.reference import parse
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Invalid

Json = dict[str, Any]  # Any: a JSON document
Job = Literal["referrers", "attach", "sbom"]
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838, 4.2."""


@dataclass(frozen=True, slots=True)
class ArtifactOrder:
    """`kind` is an artifact type; `descriptor` gives what is attached, and `name` is its file name."""

    job: Job
    root: Path
    reference: str
    kind: str
    settings: RegistrySettings
    descriptor: int = -1
    name: str = ""

    def document(self) -> Json:
        return {
            "job": self.job, "root": str(self.root), "reference": self.reference, "kind": self.kind,
            "settings": self.settings.document(), "descriptor": self.descriptor, "name": self.name,
        }  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ArtifactOrder:
        settings = RegistrySettings.of_document(document["settings"])
        return cls(
            document["job"], Path(document["root"]), document["reference"], document["kind"], settings,
            document["descriptor"], document["name"],
        )  # fmt: skip


class RegistryArtifacts:
    """`Artifacts` by worker processes."""

    def __init__(self, root: Path, settings: RegistrySettings, workers: anyio.CapacityLimiter) -> None:
        self._root, self._settings, self._workers = root, settings, workers

    async def referrers(self, reference: str, *, kind: str = "") -> Sequence[Referrer]:
        found = await self._work(self._order("referrers", reference, kind))
        return [Referrer(**one) for one in found["referrers"]]

    async def attach(self, reference: str, source: int, *, kind: str, name: str = "") -> Attached:
        order = self._order("attach", reference, kind, source, name)
        if not kind:
            raise Invalid("what is attached needs a type", hint="such as --type application/spdx+json")
        return Attached(**await self._work(order, (source,)))

    async def sbom(self, reference: str, *, kind: str = "") -> Document:
        return Document(**await self._work(self._order("sbom", reference, kind)))

    def _order(self, job: Job, reference: str, kind: str, source: int = -1, name: str = "") -> ArtifactOrder:
        if kind and not _MEDIA_TYPE.fullmatch(kind):
            raise Invalid(f"{kind!r} is not a media type", hint="write one such as application/spdx+json")
        wanted = str(parse(reference, self._settings.default_registry))
        return ArtifactOrder(job, self._root, wanted, kind, self._settings, source, name)

    async def _work(self, order: ArtifactOrder, inherit: Sequence[int] = ()) -> Json:
        async with self._workers:
            return await run_job(order.document(), lambda _progress: None, inherit=inherit)
