"""Which content nobody needs, and its removal: marked from the manifests of every repository.

A client pushes blobs before the manifest that names them, and may take hours. So nothing is added while this looks and
deletes (`Repositories.collecting`); what came or was looked at within the grace stays; and in a repository into which
somebody pushes, what came within `LEASE` stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from zlayer.image.reference import is_digest
from zlayer.model.errors import Corrupt
from zlayer.registry.faults import Refusal
from zlayer.registry.manifests import Parsed, parse
from zlayer.registry.repositories import TOUCH, Entry, Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import EXPIRY, Uploads

GRACE = 3600.0
LEASE = EXPIRY
"""Seconds for which a push under way keeps what came before it; as long as an upload may pause."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What went, or would go. `freed` is in bytes of blobs; a blob goes with the last repository that had it."""

    blobs: tuple[str, ...] = ()
    freed: int = 0
    links: int = 0
    manifests: tuple[tuple[str, str], ...] = ()
    """Untagged manifests: repository and digest."""
    uploads: int = 0


@dataclass(slots=True)
class _Marks:
    blobs: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)
    manifests: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects the garbage of one registry, served or not. `grace` is in seconds."""

    repositories: Repositories
    grace: float = GRACE
    clock: Callable[[], float] = time.time
    _read: dict[Entry, Parsed] = field(default_factory=dict, init=False)

    def run(self, *, dry: bool = False, untagged: bool = False) -> Swept:
        """Delete what no manifest stands on; `untagged`: also manifests without a tag, unless a kept one names them.

        `dry`: only say. Errors: `Corrupt` when a manifest cannot be read: then nothing is deleted.
        """
        uploads = Uploads(self.repositories, clock=self.clock)
        self._read_ahead()
        with self.repositories.collecting():
            marks = _Marks()
            pushing = uploads.under_way(self.clock() - GRACE)
            for name in self._names():
                self._mark(name, marks, untagged=untagged, pushing=name in pushing)
            doomed = [(digest, size) for digest, size in self._old() if digest not in marks.blobs]
            if not dry:
                shelf = Shelf(self.repositories)
                for name, digest in marks.manifests:
                    shelf.delete(name, digest)
                for name, digest in marks.links:
                    self.repositories.drop_blob(name, digest)
                for digest, _ in doomed:
                    self.repositories.blobs.remove(digest)
                self.repositories.sweep(dead=True)
            expired = sum(touched < self.clock() - EXPIRY for _, touched in uploads.all())
        if not dry:
            uploads.expire()
        return Swept(
            blobs=tuple(digest for digest, _ in doomed),
            freed=sum(size for _, size in doomed),
            links=len(marks.links),
            manifests=tuple(marks.manifests),
            uploads=expired,
        )

    def _since(self) -> float:
        """What was used since then is young. A use within `TOUCH` of the one before is not noted, so that much more."""
        return self.clock() - self.grace - (TOUCH if self.grace else 0.0)

    def _names(self) -> list[str]:
        return self.repositories.names(blobs_too=True)

    def _read_ahead(self) -> None:
        """Manifests never change: most are read before pushes have to wait. What fails here is told later, if it is."""
        self._read.clear()
        for name in self._names():
            for digest, _ in self.repositories.manifests(name):
                with suppress(Corrupt):
                    self._parsed(name, digest)

    def _mark(self, name: str, marks: _Marks, *, untagged: bool, pushing: bool) -> None:
        manifests, links = list(self.repositories.manifests(name)), list(self.repositories.blob_links(name))
        since = self._since()
        if pushing or any(used >= since for _, used in (*manifests, *links)):
            since = min(since, self.clock() - LEASE)
        parsed = {digest: self._parsed(name, digest) for digest, _ in manifests}
        fresh = {digest for digest, used in manifests if used >= since}
        kept = self._reached(name, parsed, fresh) if untagged else set(parsed)
        marks.manifests += [(name, digest) for digest in sorted(parsed.keys() - kept)]
        needed = kept.union(*(parsed[digest].references for digest in kept))
        marks.blobs |= needed
        for digest, used in links:
            if digest in needed or used >= since:
                marks.blobs.add(digest)
            else:
                marks.links.append((name, digest))

    def _reached(self, name: str, parsed: dict[str, Parsed], fresh: set[str]) -> set[str]:
        """Manifests with a tag or put lately, what they name, and what refers to those."""
        tagged = {self.repositories.tagged(name, tag) for tag in self.repositories.tags(name)}
        todo = [digest for digest in parsed if digest in tagged or digest in fresh]
        referring: dict[str, list[str]] = {}
        for digest, one in parsed.items():
            if one.subject:
                referring.setdefault(one.subject, []).append(digest)
        kept: set[str] = set()
        while todo:
            digest = todo.pop()
            if digest in kept or digest not in parsed:
                continue
            kept.add(digest)
            todo += [part.digest for part in parsed[digest].children]
            todo += referring.get(digest, [])
        return kept

    def _parsed(self, name: str, digest: str) -> Parsed:
        entry = self.repositories.manifest(name, digest)
        try:
            if entry is not None:
                if entry not in self._read:
                    self._read[entry] = parse(Shelf(self.repositories).body(entry), entry.media_type)
                return self._read[entry]
        except Refusal:
            pass
        raise Corrupt(
            f"the manifest {name}@{digest} cannot be read, so what it needs is not known; nothing was deleted",
            hint="push that image again, or delete the manifest, then collect again",
        )

    def _old(self) -> list[tuple[str, int]]:
        """Content and unfinished downloads older than the grace, with sizes."""
        since = self._since()
        blobs = self.repositories.blobs
        found = [(digest, blobs.path(digest)) for digest in blobs.list()]
        found += [(digest, blobs.root / "partial" / digest.partition(":")[2]) for digest in blobs.partials()]
        old = []
        for digest, path in found:
            with suppress(FileNotFoundError):
                info = path.stat()
                if info.st_mtime < since and is_digest(digest):
                    old.append((digest, info.st_size))
        return old
