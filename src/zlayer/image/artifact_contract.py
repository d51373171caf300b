"""What belongs to an image at its registry: signatures, SBOMs, attestations. Part of `image.contract`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from zlayer.model.units import Bytes


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that says it belongs to `subject`: a signature, an SBOM, whatever its `type` is."""

    digest: str
    type: str
    media_type: str
    size: Bytes
    subject: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attached:
    """`listed` is where it can be found: by the registry's own `api`, or by the fallback `tag`, which we keep."""

    digest: str
    subject: str
    listed: Literal["api", "tag"]


@dataclass(frozen=True, slots=True)
class Document:
    """An SBOM as it was attached."""

    digest: str
    type: str
    text: str


class Artifacts(Protocol):
    """What belongs to an image at its registry (OCI distribution-spec 1.1, referrers). The image need not be local.

    A name of an index stands for the index and for this machine's image of it. Errors: as a pull's.
    """

    async def referrers(self, reference: str, *, kind: str = "") -> Sequence[Referrer]:
        """What is attached; `kind`: of that artifact type only."""
        ...

    async def attach(self, reference: str, source: int, *, kind: str, name: str = "") -> Attached:
        """Push what the descriptor `source` gives, as an artifact of that type which belongs to the image.

        `Invalid`: no media type.
        """
        ...

    async def sbom(self, reference: str, *, kind: str = "") -> Document:
        """The SPDX or CycloneDX document of the image, the newest in the list. `NotFound`: none is attached."""
        ...
