"""What passes between the daemon and an image worker that looks whether what is kept is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zlayer.image.contract import Fault, FaultKind
from zlayer.model.units import Bytes

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Kept:
    """What a record says an image stands on. `blobs`: documents and packed layers; `layers`: diff ids."""

    name: str
    digest: str
    layers: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """`everything`: blobs and layers that no image stands on are looked at too."""

    root: Path
    images: tuple[Kept, ...]
    everything: bool

    def document(self) -> Json:
        images = [asdict(one) for one in self.images]
        return {"job": "verify", "root": str(self.root), "images": images, "everything": self.everything}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> VerifyOrder:
        images = tuple(
            Kept(one["name"], one["digest"], tuple(one["layers"]), tuple(one["blobs"])) for one in document["images"]
        )
        return cls(Path(document["root"]), images, document["everything"])


@dataclass(frozen=True, slots=True)
class Findings:
    """What was looked at, and what is wrong with it."""

    faults: tuple[Fault, ...]
    blobs: int
    layers: int
    size: Bytes

    def document(self) -> Json:
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Findings:
        faults: Sequence[Mapping[str, Any]] = document["faults"]
        read = tuple(Fault(**{**one, "images": tuple(one["images"])}) for one in faults)
        return cls(read, document["blobs"], document["layers"], Bytes(document["size"]))


def fault(kind: FaultKind, name: str, problem: str, images: Sequence[str]) -> Fault:
    return Fault(kind=kind, name=name, problem=problem, images=tuple(images))
