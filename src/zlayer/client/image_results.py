"""What a daemon answers of whether images are whole, and of what belongs to them, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from zlayer.client.record import Record


class Fault(Record):
    """Something kept that is not whole. `state`: found, repaired or stayed; `bad`: it is damage that still stands."""

    kind: str
    name: str
    problem: str = ""
    images: tuple[str, ...] = ()
    state: str = "found"
    note: str = ""
    bad: bool = True


class Verified(Record):
    """How much was looked at, `size` bytes of blobs of it, and what was wrong."""

    parts: ClassVar[Mapping[str, type[Record]]] = {"faults": Fault}

    images: int
    blobs: int = 0
    layers: int = 0
    size: int = 0
    faults: tuple[Fault, ...] = ()


class Referrer(Record):
    """A manifest that belongs to `subject`; `type` is its artifact type."""

    digest: str
    type: str = ""
    media_type: str = ""
    size: int = 0
    subject: str = ""
    annotations: Mapping[str, Any] = {}  # Any: JSON values


class Attached(Record):
    """`listed`: `api` (by the registry) or `tag` (in the fallback tag)."""

    digest: str
    subject: str = ""
    listed: str = ""


class Sbom(Record):
    digest: str
    type: str = ""
    text: str = ""


class Part(Record):
    """A blob an image stands on; `here`: how many of its bytes have arrived at the node that was asked."""

    digest: str
    size: int
    here: int = 0


class Parcel(Record):
    """An image as it travels from one node to another, with all the blobs it stands on."""

    reference: str
    digest: str
    index_digest: str = ""
    platform: str = ""
    blobs: tuple[Part, ...] = ()

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> Parcel:  # Any: JSON
        """`parts` is what the wire calls the blobs; a record has its own use for the word."""
        return cls.of({**doc, "blobs": ()}).but(blobs=Part.all(doc["parts"]))

    def body(self) -> dict[str, Any]:  # Any: JSON
        doc = self.document()
        doc["parts"] = [{"digest": one.digest, "size": one.size} for one in self.blobs]
        del doc["blobs"]
        return doc
