"""What refers to a digest at a registry, by its API or by the fallback tag; and keeping that tag.

Source: OCI distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema" and "Pushing Manifests with Subject".
What comes from a registry is a stranger's: what is no proper entry is left out.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from zlayer.image.artifact_contract import Referrer
from zlayer.image.manifest import INDEXES, is_unicode
from zlayer.image.reference import is_digest
from zlayer.image.registry import MAX_MANIFEST, Fetched, Registry
from zlayer.image.registry_push import push_manifest
from zlayer.image.registry_retry import Pause, wait
from zlayer.model.errors import Conflict, Corrupt, Failed, NotFound
from zlayer.model.units import Bytes

PAGES = 100
ROUNDS = 8
"""Tries to put an entry into the fallback tag when others write it too."""
SETTLE, MOST_SETTLE = 0.25, 3.0
"""Seconds to wait at least and at most for others who have read the tag before we wrote it."""
_LINK = 'rel="next"'

Json = dict[str, Any]  # Any: a JSON document


def referrers(registry: Registry, digest: str, kind: str = "") -> list[Referrer]:
    """All that refer to it, in the registry's order; `kind`: of that artifact type. Errors: as `Registry.manifest`."""
    try:
        found = list(_by_api(registry, digest, kind))
    except (NotFound, Failed):
        found = list(_entries(_tagged(registry, digest).body))
    read = [one for raw in found if (one := _referrer(raw, digest)) is not None]
    return [one for one in read if kind in ("", one.type)]


def enlist(registry: Registry, digest: str, entry: Json, *, pause: Pause = wait) -> None:
    """Put an entry into the fallback tag of `digest`; one of the same digest is replaced.

    Others may write the tag between our reading and writing. A registry that knows conditions (If-Match) refuses that
    write; the others do not tell, and whoever wrote first is lost. So wait for as long as another's reading and writing
    may take, look whether the entry is still there, and try again. Errors: `Failed` when it never is.
    """
    tag = fallback_tag(digest)
    for _ in range(ROUNDS):
        began = time.monotonic()
        before = _tagged(registry, digest)
        there = [raw for raw in _entries(before.body) if raw.get("digest") != entry["digest"]]
        index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [*there, entry]}
        body = json.dumps(index, separators=(",", ":")).encode()
        if len(body) > MAX_MANIFEST:
            raise Failed(f"{digest} has too many referrers for one index", hint="delete old ones at the registry")
        try:
            push_manifest(registry, tag, body, INDEXES[0], only=_unchanged(before))
        except Conflict:
            pause(random.uniform(0.05, SETTLE))
            continue
        pause(min(SETTLE + 2 * (time.monotonic() - began), MOST_SETTLE) * random.uniform(1, 1.5))
        if entry["digest"] in {raw.get("digest") for raw in _entries(_tagged(registry, digest).body)}:
            return
    raise Failed(f"the list of what refers to {digest} changes as fast as it is written", hint="attach again")


def _unchanged(before: Fetched) -> dict[str, str]:
    """The condition under which a write loses nothing."""
    if not before.digest:
        return {"If-None-Match": "*"}
    return {"If-Match": before.etag} if before.etag else {}


def fallback_tag(digest: str) -> str:
    """`sha256-<hex>`: 32 characters of the algorithm, 64 of the digits at most."""
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm[:32]}-{digits[:64]}"


def _by_api(registry: Registry, digest: str, kind: str) -> Iterator[Json]:
    """Page by page. `NotFound` or `Failed`: this registry has no such list."""
    target = f"referrers/{digest}" + (f"?artifactType={quote(kind, '')}" if kind else "")
    for _ in range(PAGES):
        body, target = registry.patience().call(registry.reference.domain, partial(_page, registry, target))
        yield from _entries(body)
        if not target:
            return
    raise Corrupt(f"registry {registry.reference.domain} lists referrers without end", hint="ask its operator")


def _page(registry: Registry, target: str) -> tuple[bytes, str]:
    answer = registry.ask("GET", target, {"Accept": INDEXES[0]}, good=(200,))
    link, kind = answer.header("Link"), answer.header("Content-Type").partition(";")[0].strip()
    body = answer.body(MAX_MANIFEST)
    if kind != INDEXES[0]:
        raise NotFound(f"registry {registry.reference.domain} answers for referrers with {kind or 'no type'}")
    following = link.partition(">")[0].removeprefix("<") if _LINK in link else ""
    target = urljoin(answer.url, following) if following else ""
    if target and urlsplit(target)[:2] != urlsplit(answer.url)[:2]:
        raise Corrupt(f"registry {registry.reference.domain} goes on with its list elsewhere: {target}")
    return body, target


def _tagged(registry: Registry, digest: str) -> Fetched:
    """Without a digest: there is no such tag yet."""
    try:
        return registry.manifest(fallback_tag(digest))
    except NotFound:
        return Fetched(b'{"manifests":[]}', "", INDEXES[0])


def _entries(body: bytes) -> Iterator[Json]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise Corrupt("the registry's list of referrers is not JSON", hint="ask the registry's operator") from fault
    listed = document.get("manifests") if isinstance(document, dict) else None
    yield from (raw for raw in (listed if isinstance(listed, list) else []) if isinstance(raw, dict))


def _referrer(raw: Json, subject: str) -> Referrer | None:
    digest, size, notes = raw.get("digest"), raw.get("size"), raw.get("annotations")
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or isinstance(size, bool):
        return None
    if not is_unicode(raw):
        return None
    kept = {k: v for k, v in notes.items() if isinstance(v, str)} if isinstance(notes, dict) else {}
    kind, media_type = raw.get("artifactType"), raw.get("mediaType")
    return Referrer(
        digest=digest,
        type=kind if isinstance(kind, str) else "",
        media_type=media_type if isinstance(media_type, str) else "",
        size=Bytes(size),
        subject=subject,
        annotations=kept,
    )
