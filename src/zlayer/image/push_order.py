"""What passes between the daemon and an image worker that pushes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlayer.image.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class PushOrder:
    """The local image whose manifest is `digest`, to go to `reference`. `mount_from` as in `registry_push.Source`."""

    root: Path
    reference: str
    digest: str
    settings: RegistrySettings
    mount_from: tuple[str, ...] = ()
    platform: str = ""
    index_digest: str = ""
    """The index the image was found by; it names platforms that do not go."""

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        return {
            "job": "push",
            "root": str(self.root),
            "reference": self.reference,
            "digest": self.digest,
            "settings": self.settings.document(),
            "mount_from": list(self.mount_from),
            "platform": self.platform,
            "index_digest": self.index_digest,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> PushOrder:
        return cls(
            Path(document["root"]), document["reference"], document["digest"],
            RegistrySettings.of_document(document["settings"]), tuple(document["mount_from"]),
            document["platform"], document["index_digest"],
        )  # fmt: skip
