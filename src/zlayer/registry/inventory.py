"""What a registry has, for people: every tag, and manifests that have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zlayer.registry.faults import Refusal
from zlayer.registry.manifests import parse
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Line:
    """A tag, or with an empty `tag` a manifest without one. `size`: bytes of what is here of it, parts included."""

    repository: str
    tag: str
    digest: str
    size: int

    def document(self) -> dict[str, Any]:  # Any: JSON
        return asdict(self)


def inventory(root: Path) -> list[Line]:
    """Sorted by repository, then tag; manifests that only belong to an index or a subject are not listed."""
    repositories = Repositories(root)
    return [line for name in repositories.names() for line in _lines(Shelf(repositories), name)]


def _lines(shelf: Shelf, name: str) -> Iterator[Line]:
    tags = [(tag, digest) for tag in shelf.repositories.tags(name) if (digest := shelf.repositories.tagged(name, tag))]
    parts: set[str] = set()
    loose = []
    for digest, _ in shelf.repositories.manifests(name):
        needed, subject = _needs(shelf, name, digest)
        parts |= needed
        if not subject:
            loose.append(digest)
    tagged = {digest for _, digest in tags}
    for tag, digest in tags:
        yield Line(name, tag, digest, _size(shelf, name, digest))
    for digest in sorted(set(loose) - parts - tagged):
        yield Line(name, "", digest, _size(shelf, name, digest))


def _needs(shelf: Shelf, name: str, digest: str) -> tuple[set[str], str]:
    entry = shelf.repositories.manifest(name, digest)
    try:
        parsed = parse(shelf.body(entry), entry.media_type) if entry else None
    except Refusal:
        parsed = None  # damaged: listed, with what is known
    return (parsed.references, parsed.subject) if parsed else (set(), "")


def _size(shelf: Shelf, name: str, digest: str) -> int:
    """Each blob once, children of an index included."""
    seen: set[str] = set()
    todo, total = [digest], 0
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        path = shelf.repositories.blobs.path(one)
        total += path.stat().st_size if path.is_file() else 0
        todo += _needs(shelf, name, one)[0]
    return total
