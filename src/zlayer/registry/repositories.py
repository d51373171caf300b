"""What each repository has: which blobs and manifests of the shared content, its tags, and who refers to whom.

Below the root: `blobs/` content by digest, shared by all repositories (`image.blobs`); `repositories/NAME/_blobs/`,
`_manifests/` (each file holds the media type), `_tags/` (each file holds a digest), `_referrers/SUBJECT/` (each file
a descriptor); `uploads/`, `tmp/`. No word of a name begins with `_`, so names and these never meet. Files appear by
rename after fsync, content before what points at it: a crash leaves content nobody points at, never the reverse.
Blocking; safe between threads and processes. Errors: `Exhausted` and `Failed` of `image.blobs`.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlayer.image.blobs import BlobStore, disk_error, sync_directory, write_whole
from zlayer.image.reference import is_digest
from zlayer.registry.names import is_tag

ALGORITHMS = ("sha256", "sha512")
TOUCH = 60.0
"""Seconds of age from which a look at a blob is noted in the file times: what was just looked at is not garbage."""

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Entry:
    """A manifest as a repository has it."""

    digest: str
    media_type: str


class Repositories:
    """All repositories below `root`. Names, tags and digests are checked by the caller (`names`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobStore(root / "blobs")
        self._tmp = root / "tmp"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around whatever changes, and what tells a pushing client that it need not send: no collection meanwhile."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Around a collection of garbage: nothing changes meanwhile. Waits for what is being changed."""
        with self._locked(fcntl.LOCK_EX):
            yield

    def sweep(self, *, dead: bool = False) -> None:
        """Delete what was being written when a process died; as `BlobStore.sweep`."""
        for store in (self.blobs, BlobStore(self.root)):
            store.sweep(dead=dead)

    def names(self, *, blobs_too: bool = False) -> list[str]:
        """Sorted names of the repositories that have had a manifest; with `blobs_too`, of those with a blob too."""
        marks = ("_manifests", "_blobs") if blobs_too else ("_manifests",)
        return sorted(self._walk(self.root / "repositories", "", marks))

    def exists(self, name: str) -> bool:
        return self._home(name, "_manifests").is_dir() or self._home(name, "_blobs").is_dir()

    # Blobs

    def has_blob(self, name: str, digest: str) -> bool:
        """Whether the repository has it, and the content is there. Noted as a use."""
        return self.blobs.has(digest) and _used(self._link(name, "_blobs", digest))

    def add_blob(self, name: str, digest: str) -> None:
        """The repository has it from now on; the content is there already."""
        self._write(self._link(name, "_blobs", digest), b"")

    def drop_blob(self, name: str, digest: str) -> bool:
        return _unlink(self._link(name, "_blobs", digest))

    def blob_links(self, name: str) -> Iterator[tuple[str, float]]:
        """Digests of its blobs, and when each was last added or looked at."""
        yield from self._links(name, "_blobs")

    # Manifests

    def manifest(self, name: str, digest: str) -> Entry | None:
        try:
            return Entry(digest, self._link(name, "_manifests", digest).read_text())
        except FileNotFoundError:
            return None

    def use_manifest(self, name: str, digest: str) -> None:
        """Note that somebody asked for it: it may be part of an index that is pushed next."""
        _used(self._link(name, "_manifests", digest))

    def manifests(self, name: str) -> Iterator[tuple[str, float]]:
        """Digests of its manifests, and when each was put or asked for."""
        yield from self._links(name, "_manifests")

    def add_manifest(self, name: str, entry: Entry, body: bytes) -> None:
        self.blobs.write(entry.digest, body)
        self._write(self._link(name, "_manifests", entry.digest), entry.media_type.encode())

    def drop_manifest(self, name: str, digest: str) -> bool:
        """Forget it and the tags that stand for it. Whether it was there."""
        for tag in self.tags(name):
            if self.tagged(name, tag) == digest:
                self.drop_tag(name, tag)
        return _unlink(self._link(name, "_manifests", digest))

    # Tags

    def tags(self, name: str) -> list[str]:
        try:
            entries = [entry.name for entry in os.scandir(self._home(name, "_tags"))]
        except FileNotFoundError:
            return []
        return sorted(filter(is_tag, entries))

    def tagged(self, name: str, tag: str) -> str | None:
        """The digest a tag stands for."""
        try:
            text = (self._home(name, "_tags") / tag).read_text()
        except FileNotFoundError:
            return None
        return text if is_digest(text) else None

    def tag(self, name: str, tag: str, digest: str) -> None:
        self._write(self._home(name, "_tags") / tag, digest.encode())

    def checked(self, name: str, tag: str) -> float:
        """When a tag was last set or found unchanged upstream: seconds since the epoch; 0: there is no such tag."""
        try:
            return (self._home(name, "_tags") / tag).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def touch_tag(self, name: str, tag: str) -> None:
        with suppress(OSError):
            os.utime(self._home(name, "_tags") / tag)

    def drop_tag(self, name: str, tag: str) -> bool:
        return _unlink(self._home(name, "_tags") / tag)

    # Referrers

    def refer(self, name: str, subject: str, descriptor: Json) -> None:
        """Put a descriptor into the list of what refers to `subject`, which need not be here."""
        file = self._home(name, "_referrers") / _flat(subject) / _flat(descriptor["digest"])
        self._write(file, json.dumps(descriptor, separators=(",", ":")).encode())

    def drop_referrer(self, name: str, subject: str, digest: str) -> None:
        _unlink(self._home(name, "_referrers") / _flat(subject) / _flat(digest))

    def referrers(self, name: str, subject: str) -> list[str]:
        """Digests of what refers to it, sorted."""
        try:
            entries = [entry.name for entry in (self._home(name, "_referrers") / _flat(subject)).iterdir()]
        except FileNotFoundError:
            return []
        return sorted(digest for entry in entries if is_digest(digest := entry.replace("-", ":")))

    def referrer(self, name: str, subject: str, digest: str) -> Json | None:
        try:
            found = json.loads((self._home(name, "_referrers") / _flat(subject) / _flat(digest)).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    # Files

    def _home(self, name: str, what: str) -> Path:
        return self.root / "repositories" / name / what

    def _link(self, name: str, what: str, digest: str) -> Path:
        algorithm, _, digits = digest.partition(":")
        return self._home(name, what) / algorithm / digits

    def _links(self, name: str, what: str) -> Iterator[tuple[str, float]]:
        for algorithm in ALGORITHMS:
            with suppress(FileNotFoundError):
                for entry in list(os.scandir(self._home(name, what) / algorithm)):
                    if is_digest(digest := f"{algorithm}:{entry.name}"):
                        with suppress(FileNotFoundError):
                            yield digest, entry.stat().st_mtime

    def _walk(self, directory: Path, prefix: str, marks: tuple[str, ...]) -> Iterator[str]:
        try:
            entries = [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        if prefix and any(mark in entries for mark in marks):
            yield prefix
        for entry in entries:
            if not entry.startswith("_"):
                yield from self._walk(directory / entry, f"{prefix}/{entry}" if prefix else entry, marks)

    def _write(self, file: Path, body: bytes) -> None:
        make_directory(file.parent)
        write_whole(file, body, self._tmp)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Who waits keeps the gate shut: else pushes that overlap without end keep a collection out for ever."""
        gate = self._flocked("gate.lock", how)
        try:
            lock = self._flocked("changes.lock", how)
        finally:
            os.close(gate)
        try:
            yield
        finally:
            os.close(lock)

    def _flocked(self, name: str, how: int) -> int:
        try:
            descriptor = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, self.root) from error
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def make_directory(directory: Path) -> None:
    """Make it and what is missing above it, durably. Errors: as `image.blobs`."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory.parent)
    except OSError as error:
        raise disk_error(error, directory) from error


def _flat(digest: str) -> str:
    return digest.replace(":", "-")


def _used(link: Path) -> bool:
    """Whether it is there; its time is set, if that is worth a write."""
    try:
        if time.time() - link.stat().st_mtime > TOUCH:
            os.utime(link)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # a disk that takes no times is no reason not to serve
    return True


def _unlink(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    sync_directory(file.parent)
    return True
