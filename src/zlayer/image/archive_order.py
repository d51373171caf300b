"""What passes between the daemon and an image worker that writes or reads an archive. Descriptors are inherited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlayer.image.contract import Compression
from zlayer.image.settings import RegistrySettings

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Images as (reference, manifest digest), to be written to `descriptor`."""

    root: Path
    images: tuple[tuple[str, str], ...]
    compression: Compression
    descriptor: int

    def document(self) -> Json:
        return {
            "job": "export", "root": str(self.root), "images": [list(one) for one in self.images],
            "compression": self.compression, "descriptor": self.descriptor,
        }  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ExportOrder:
        images = tuple((reference, digest) for reference, digest in document["images"])
        return cls(Path(document["root"]), images, document["compression"], document["descriptor"])


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """An archive on `descriptor`. `name`: instead of its own; `rootfs`: a plain tree that becomes one layer.

    `platform`: which image of an index; None: this machine's.
    """

    root: Path
    name: str
    rootfs: bool
    settings: RegistrySettings
    descriptor: int
    platform: str | None = None

    def document(self) -> Json:
        return {
            "job": "import", "root": str(self.root), "name": self.name, "rootfs": self.rootfs,
            "platform": self.platform, "settings": self.settings.document(), "descriptor": self.descriptor,
        }  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ImportOrder:
        settings = RegistrySettings.of_document(document["settings"])
        return cls(
            Path(document["root"]), document["name"], document["rootfs"], settings,
            document["descriptor"], document["platform"],
        )  # fmt: skip
