"""What passes between the daemon and a worker process that puts blobs into the bucket, or looks whether it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zlayer.image.s3.settings import S3Settings

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class KeepOrder:
    """Put into the bucket what waits below `root`, the data directory."""

    root: Path
    settings: S3Settings

    def document(self) -> Json:
        return {"job": "s3", "root": str(self.root), "settings": asdict(self.settings)}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> KeepOrder:  # Any: a JSON document
        return cls(Path(document["root"]), S3Settings(**document["settings"]))


@dataclass(frozen=True, slots=True)
class Done:
    """Blobs that went up, with their bytes; that were there; that are not here, or damaged; ended old uploads."""

    sent: int = 0
    bytes: int = 0
    there: int = 0
    gone: int = 0
    damaged: int = 0
    aborted: int = 0
