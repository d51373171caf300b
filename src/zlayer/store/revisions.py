"""The kept revisions of a deployment, as they are in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from zlayer.model import keys
from zlayer.model.base import Document
from zlayer.model.instance import Revision
from zlayer.model.rollout import RevisionNote
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, read


@dataclass(frozen=True, slots=True)
class Kept:
    """A revision with the store's revision of its document, for guarded writes."""

    value: Revision
    modified: int


def _from_deployment(fields: dict[str, Any]) -> dict[str, Any]:  # Any: JSON of an older schema
    """Version 1 was the deployment's own document."""
    names = ("name", "revision", "services", "source")
    kept: dict[str, Any] = {name: fields[name] for name in names if name in fields}
    return {**kept, "at": fields.get("updated_at", 0)}


_read = decoder(Revision, {1: _from_deployment})


class Noted(Document):
    """What is known of a kept revision, without what it was: a big deployment takes long to read."""

    model_config = ConfigDict(extra="ignore")

    revision: int
    note: RevisionNote = RevisionNote()


_read_noted = decoder(Noted)


async def load_notes(store: Store, name: str) -> list[Noted]:
    """Of every kept revision, in no order."""
    return [read(_read_noted, item) for item in (await store.list(f"{keys.REVISIONS}{name}/")).items]


async def load_revisions(store: Store, name: str) -> dict[int, Kept]:
    """By number, oldest first."""
    items = (await store.list(f"{keys.REVISIONS}{name}/")).items
    found = [Kept(read(_read, item), item.modified) for item in items]
    return {one.value.revision: one for one in sorted(found, key=lambda one: one.value.revision)}
