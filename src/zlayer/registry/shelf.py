"""Manifests put into a repository and taken out of it, with all that hangs on them: parts, tags, referrers.

Blocking; for threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from zlayer.image.blobs import digest_of
from zlayer.image.reference import is_digest
from zlayer.registry.faults import Refusal, bad_digest, bad_manifest, unknown_manifest
from zlayer.registry.manifests import Json, Parsed, Part, parse
from zlayer.registry.repositories import Entry, Repositories

PAGE_BYTES = 3 * 1024 * 1024
"""A page of referrers stays below the 4 MiB that clients read of a manifest."""


@dataclass(frozen=True, slots=True)
class Put:
    """A manifest that was kept. `subject` is what it refers to, or empty."""

    entry: Entry
    subject: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The manifests of `repositories`. Errors: `Refusal`, and `Exhausted`, `Failed` of the disk."""

    repositories: Repositories

    def put(self, name: str, reference: str, body: bytes, content_type: str, *, sparse: bool = False) -> Put:
        """Keep a manifest under a tag or its digest; durable when this returns. What it stands on must be here.

        `sparse`: it need not; for what is fetched from upstream part by part.
        """
        parsed = parse(body, content_type)
        digest = digest_of(body, reference if is_digest(reference) else "sha256:")
        if is_digest(reference) and digest != reference:
            raise bad_digest(f"the manifest has the digest {digest}", reference)
        entry = Entry(digest, parsed.media_type)
        with self.repositories.changing():
            if not sparse:
                self._check(name, parsed)
            self.repositories.add_manifest(name, entry, body)
            if parsed.subject:
                self.repositories.refer(name, parsed.subject, {**parsed.listing, "digest": digest, "size": len(body)})
            if not is_digest(reference):
                self.repositories.tag(name, reference, digest)
        return Put(entry, parsed.subject)

    def find(self, name: str, reference: str) -> Entry | None:
        """What a tag or digest stands for."""
        digest = reference if is_digest(reference) else self.repositories.tagged(name, reference)
        return self.repositories.manifest(name, digest) if digest else None

    def body(self, entry: Entry) -> bytes:
        """Its bytes, verified."""
        try:
            body = self.repositories.blobs.path(entry.digest).read_bytes()
        except FileNotFoundError:
            raise unknown_manifest(entry.digest) from None
        if digest_of(body, entry.digest) != entry.digest:
            raise Refusal(500, "UNKNOWN", "the manifest is damaged on the registry's disk: push it again")
        return body

    def delete(self, name: str, reference: str) -> bool:
        """By digest: the manifest, its tags and its place among referrers. By tag: the tag alone."""
        if not is_digest(reference):
            return self.repositories.drop_tag(name, reference)
        entry = self.repositories.manifest(name, reference)
        if entry is None:
            return False
        try:
            subject = parse(self.body(entry), entry.media_type).subject
        except Refusal:
            subject = ""  # damaged: who is asked for it finds nothing anyway
        if subject:
            self.repositories.drop_referrer(name, subject, reference)
        return self.repositories.drop_manifest(name, reference)

    def referrers(self, name: str, subject: str) -> list[Json]:
        """Descriptors of what refers to `subject`, sorted by digest."""
        digests = self.repositories.referrers(name, subject)
        there = [digest for digest in digests if self.repositories.manifest(name, digest) is not None]
        found = [self.repositories.referrer(name, subject, digest) for digest in there]
        return [descriptor for descriptor in found if descriptor is not None]

    def _check(self, name: str, parsed: Parsed) -> None:
        """Every part is in this repository, and as long as the manifest says."""
        missing = [part.digest for part in parsed.blobs if not part.foreign and not self._has(name, part)]
        missing += [part.digest for part in parsed.children if self.repositories.manifest(name, part.digest) is None]
        if missing:
            raise Refusal(
                400,
                "MANIFEST_BLOB_UNKNOWN",
                "the repository lacks parts of it: push those first",
                {"digests": missing[:50]},
            )

    def _has(self, name: str, part: Part) -> bool:
        if not self.repositories.has_blob(name, part.digest):
            return False
        if not self.repositories.blobs.has(part.digest, part.size):
            raise bad_manifest(f"{part.digest} is not {part.size} bytes long", digest=part.digest)
        return True


def index(descriptors: Iterable[Json], *, kind: str, last: str, most: int) -> tuple[bytes, str]:
    """A page of a list of referrers as an image index, and the `last` of the next page.

    `descriptors` are sorted by digest; those behind `last` and of artifact type `kind`, if given, are in it.
    """
    found: list[Json] = []
    size, following = 0, ""
    for descriptor in descriptors:
        if descriptor["digest"] <= last or (kind and descriptor.get("artifactType") != kind):
            continue
        size += len(json.dumps(descriptor))
        if found and (size > PAGE_BYTES or len(found) >= most):
            following = str(found[-1]["digest"])
            break
        found.append(descriptor)
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
    return json.dumps(document, separators=(",", ":")).encode(), following
