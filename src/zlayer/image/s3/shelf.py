"""What waits to go into the bucket, and how the bucket answered last: small files below `s3/` of the data directory.

`waiting/<algorithm>-<hex>.json` names a blob of the node's store, with the upload in parts that has begun, so that it
goes on after a kill; `seen.json` says whether the bucket answers, since when, and why not. Safe between processes:
each file appears by rename. An entry lost costs that a blob is not in the bucket until a node pulls it again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from zlayer.image.blobs import write_whole
from zlayer.image.reference import is_digest
from zlayer.image.s3.settings import S3Settings

_MET = "met"
"""A file: all that the node had when the bucket was set has been put down for it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One in parts: S3's id, the bytes of a part, and the ETag of each part that has arrived, by its number."""

    id: str
    part: int
    etags: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob that waits. `replace`: what the bucket has under its name is wrong."""

    digest: str
    size: int
    media_type: str = ""
    replace: bool = False
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How the bucket answered last, when it began to answer so, and until when it is not asked."""

    ok: bool
    since: float
    until: float = 0.0
    why: str = ""


class Shelf:
    """Of one data directory and one bucket: another bucket finds an empty shelf."""

    def __init__(self, root: Path, settings: S3Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._root = root / "s3" / settings.mark
        self._waiting = self._root / "waiting"
        self._clock = clock

    def put(self, entry: Entry) -> None:
        """Keep for later. What is known of an upload of the same blob stays known."""
        if (before := self.get(entry.digest)) is not None:
            entry = replace(entry, replace=entry.replace or before.replace, upload=entry.upload or before.upload)
        if entry != before:
            self.update(entry)

    def update(self, entry: Entry) -> None:
        write_whole(self._file(entry.digest), json.dumps(asdict(entry)).encode(), self._root / "tmp")

    def get(self, digest: str) -> Entry | None:
        """None: it does not wait. What cannot be read is dropped."""
        file = self._file(digest)
        try:
            found = json.loads(file.read_bytes())
            upload = found["upload"]
            if upload is not None:
                etags = {int(number): str(etag) for number, etag in upload["etags"].items()}
                upload = Upload(str(upload["id"]), int(upload["part"]), etags)
            return Entry(digest, int(found["size"]), str(found["media_type"]), found["replace"] is True, upload)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            file.unlink(missing_ok=True)
            return None

    def drop(self, digest: str) -> None:
        self._file(digest).unlink(missing_ok=True)

    def waiting(self) -> Iterator[Entry]:
        """The smallest first: a config in the bucket is worth as much to the next node as a layer."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for file in list(self._waiting.iterdir()):
                digest = file.stem.replace("-", ":", 1)
                if is_digest(digest) and (entry := self.get(digest)) is not None:
                    found.append(entry)
        yield from sorted(found, key=lambda entry: (entry.size, entry.digest))

    def new(self) -> bool:
        """Whether this node has not met the bucket yet."""
        return not (self._root / _MET).exists()

    def greet(self) -> None:
        write_whole(self._root / _MET, b"", self._root / "tmp")

    @property
    def empty(self) -> bool:
        return next(self.waiting(), None) is None

    def seen(self) -> Seen | None:
        try:
            found = json.loads((self._root / "seen.json").read_bytes())
            return Seen(found["ok"] is True, float(found["since"]), float(found["until"]), str(found["why"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def asked(self) -> bool:
        """Whether pulls ask the bucket now."""
        found = self.seen()
        return found is None or found.ok or self._clock() >= found.until

    def answered(self) -> None:
        """The bucket answers."""
        found = self.seen()
        if found is None or not found.ok:
            self._see(Seen(True, self._clock()))

    def failed(self, why: str) -> None:
        """It does not; for a while pulls do not ask it."""
        found, now = self.seen(), self._clock()
        since = found.since if found is not None and not found.ok else now
        self._see(Seen(False, since, now + self.settings.pause, why))

    def _see(self, seen: Seen) -> None:
        write_whole(self._root / "seen.json", json.dumps(asdict(seen)).encode(), self._root / "tmp")

    def _file(self, digest: str) -> Path:
        return self._waiting / f"{digest.replace(':', '-', 1)}.json"
