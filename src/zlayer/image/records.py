"""What this node knows of its images: one small JSON file per reference and platform, and all of them in memory.

A record is written whole (rename after fsync) once its layers are on disk, so an image is there or it is not.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zlayer.image.blobs import write_whole
from zlayer.image.contract import Image, ImageConfig
from zlayer.image.pull_order import Pulled
from zlayer.image.reference import Reference
from zlayer.model.units import Bytes, Timestamp

SCHEMA = 1
MOUNTS = 3
"""Repositories a push asks for a blob before it sends it."""
_REFERENCE = re.compile(r'"reference": "([^"\\]+)"')
_PLATFORM = re.compile(r'"asked_platform": "([^"\\]*)"')
_PREFIX = re.compile(r"(?:(sha256|sha512):)?([0-9a-f]{8,128})")


@dataclass(frozen=True, slots=True)
class Record:
    """An image and the blobs it stands on: manifests, config, compressed layers."""

    image: Image
    blobs: tuple[str, ...] = ()
    asked_platform: str = ""
    """The platform a pull named; empty: this machine's own."""
    superseded: bool = False
    """Its tag has moved on to another image; kept for instances that still run it."""

    @property
    def key(self) -> tuple[str, str]:
        return self.image.reference, self.asked_platform


@dataclass(slots=True)
class Records:
    """All records below `root`. `load` once; then reads are memory only. For one event loop, not for threads."""

    root: Path
    _records: dict[tuple[str, str], Record] = field(default_factory=dict)

    def load(self) -> None:
        """Read the disk. A file that is no readable record is left alone: the image is not shown, and pulled anew.

        What a daemon that was killed had half-written goes.
        """
        for half in (self.root / "tmp").glob("*"):
            half.unlink(missing_ok=True)
        for file in sorted(self.root.glob("*.json")):
            try:
                record = _record(json.loads(file.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            self._records[record.key] = record

    def faulty(self) -> Iterator[tuple[Path, Record | None]]:
        """Files on disk that do not say what memory does, with the record that is meant; None: nobody knows which."""
        expected = {self._file(record): record for record in self._records.values()}
        for file in sorted({*expected, *self.root.glob("*.json")}):
            try:
                read = _record(json.loads(file.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError):
                read = None
            if read is None or read != expected.get(file):
                yield file, expected.get(file)

    def salvage(self, file: Path) -> tuple[str, str] | None:
        """Reference and platform of a damaged record, if they can still be read; the file's name proves them."""
        text = file.read_text(errors="replace")
        named, asked = _REFERENCE.search(text), _PLATFORM.search(text)
        key = (named[1], asked[1] if asked else "") if named else None
        return key if key and self.root / _name(key) == file else None

    def get(self, reference: str, platform: str) -> Record | None:
        return self._records.get((reference, platform))

    def all(self) -> list[Record]:
        """Sorted by reference."""
        return [self._records[key] for key in sorted(self._records)]

    def put(self, record: Record) -> None:
        """Durable when this returns. Blocks for an fsync. Errors: `Exhausted`, `Failed`."""
        body = json.dumps(_document(record), indent=1, sort_keys=True).encode()
        write_whole(self._file(record), body, self.root / "tmp")
        self._records[record.key] = record

    def drop(self, record: Record) -> None:
        self._file(record).unlink(missing_ok=True)
        self._records.pop(record.key, None)

    def named(self, reference: str) -> list[Record]:
        """Records of a reference, this machine's own platform first."""
        return [record for record in self.all() if record.image.reference == reference]

    def digested(self, reference: Reference, platform: str | None) -> list[Record]:
        """Records of the same repository with the very digest, whatever tag they were pulled by; None: any platform."""
        prefixes = (f"{reference.name}:", f"{reference.name}@")
        return [
            record
            for record in self.all()
            if reference.digest in _digests(record)
            and record.image.reference.startswith(prefixes)
            and platform in (None, record.asked_platform)
        ]

    def by_prefix(self, text: str) -> list[Record]:
        """Records whose manifest or index digest begins with these 8 or more hex digits."""
        found = _PREFIX.fullmatch(text)
        if found is None:
            return []
        return [r for r in self.all() if any(map(partial(_begins, *found.groups()), _digests(r)))]

    def layers(self) -> set[str]:
        """Diff ids some record stands on."""
        return {layer for record in self._records.values() for layer in record.image.layers}

    def blobs(self) -> set[str]:
        return {blob for record in self._records.values() for blob in record.blobs}

    def _file(self, record: Record) -> Path:
        return self.root / _name(record.key)


def _name(key: tuple[str, str]) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest() + ".json"


def _begins(algorithm: str | None, digits: str, digest: str) -> bool:
    named, _, whole = digest.partition(":")
    return algorithm in (None, named) and whole.startswith(digits)


def _digests(record: Record) -> Iterator[str]:
    yield record.image.digest
    yield record.image.index_digest


def _document(record: Record) -> dict[str, Any]:  # Any: a JSON document
    return {
        "schema": SCHEMA,
        "image": asdict(record.image),
        "blobs": list(record.blobs),
        "asked_platform": record.asked_platform,
        "superseded": record.superseded,
    }


def _record(document: dict[str, Any]) -> Record:  # Any: a JSON document
    if document["schema"] != SCHEMA:
        raise ValueError("a record of another version")
    image = document["image"]
    config = image["config"]
    listed = ("entrypoint", "cmd", "exposed_ports", "volumes")
    return Record(
        image=Image(
            **{
                **image,
                "config": ImageConfig(**{**config, **{name: tuple(config[name]) for name in listed}}),
                "layers": tuple(image["layers"]),
                "size": Bytes(image["size"]),
                "pulled_at": Timestamp(image["pulled_at"]),
            }
        ),
        blobs=tuple(document["blobs"]),
        asked_platform=document["asked_platform"],
        superseded=document["superseded"],
    )


def mounts(records: Sequence[Record], parse: Callable[[str], Reference], wanted: Reference) -> tuple[str, ...]:
    """Repositories of the registry that the blobs of the first record came from, its own first."""
    first = set(records[0].blobs)
    names = (parse(one.image.reference) for one in records if first & set(one.blobs) or one is records[0])
    paths = dict.fromkeys(n.path for n in names if n.domain == wanted.domain and n.path != wanted.path)
    return tuple(paths)[:MOUNTS]


def image_of(reference: Reference, pulled: Pulled) -> Image:
    """What a worker unpacked just now, under its name."""
    return Image(
        reference=str(reference),
        digest=pulled.digest,
        config=image_config(dict(pulled.config or {})),
        layers=pulled.layers,
        platform=pulled.platform,
        size=Bytes(pulled.size),
        pulled_at=Timestamp(time.time()),
        index_digest=pulled.index_digest,
        media_type=pulled.media_type,
    )


def image_config(raw: dict[str, Any]) -> ImageConfig:  # Any: the `config` object of an OCI image config
    """The parts a container inherits, from a stranger's JSON: what is not of the right type counts as not said."""
    return ImageConfig(
        entrypoint=_texts(raw.get("Entrypoint")),
        cmd=_texts(raw.get("Cmd")),
        env=dict(pair.split("=", 1) for pair in _texts(raw.get("Env")) if "=" in pair),
        workdir=_text(raw.get("WorkingDir")) or "/",
        user=_text(raw.get("User")),
        stop_signal=_text(raw.get("StopSignal")),
        exposed_ports=_names(raw.get("ExposedPorts")),
        volumes=_names(raw.get("Volumes")),
        labels={k: v for k, v in labels.items() if isinstance(v, str)}
        if isinstance(labels := raw.get("Labels"), dict)
        else {},
    )


def _text(value: Any) -> str:  # Any: JSON
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:  # Any: JSON
    """A list of texts; one text alone is how very old images write a shell-form command."""
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _names(value: Any) -> tuple[str, ...]:  # Any: JSON
    return tuple(sorted(value)) if isinstance(value, dict) else ()
