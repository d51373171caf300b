"""Documents as stored bytes: JSON with a `schema_version`, checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from zlayer.model.base import Document
from zlayer.model.errors import Corrupt
from zlayer.store.contract import Item

D = TypeVar("D", bound=Document)
T = TypeVar("T")
HINT = "the store was written by hand or by another program; restore a backup, or remove that key"
SHOWN = 3
"""Faults of one document worth telling."""

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]  # Any: JSON of an older schema, typed by nobody any more
"""Rewrites a document of version n as version n + 1."""


def encode(document: Document) -> bytes:
    """Compact JSON."""
    return document.model_dump_json().encode()


def decoder(kind: type[D], upgrades: Mapping[int, Upgrade] | None = None) -> Callable[[bytes], D]:
    """A function from stored bytes to `kind`, as `Mirror` takes it.

    A document of an older version goes through `upgrades[n]` for each version n on the way; without upgrades it is
    read as it is (fields it lacks have defaults). `Corrupt` for a newer version, and for what does not fit `kind`.
    """
    newest = _newest(kind)

    def decode(raw: bytes) -> D:
        try:
            document = kind.model_validate_json(raw)
        except ValidationError as error:
            return _second_look(kind, raw, newest, upgrades or {}, error)
        version = getattr(document, "schema_version", newest)
        if version == newest or (version < newest and not upgrades):
            return document
        return _second_look(kind, raw, newest, upgrades or {}, None)

    return decode


def read(decode: Callable[[bytes], T], item: Item) -> T:
    """`decode` of an item's value; its `Corrupt` names the key."""
    try:
        return decode(item.value)
    except Corrupt as damage:
        raise Corrupt(f"{item.key}: {damage.message}", hint=damage.hint) from damage
    except ValueError as damage:  # of a decoder that is not ours, such as json.loads
        raise Corrupt(f"{item.key} cannot be read: {damage}", hint=HINT) from damage


def _second_look(
    kind: type[D], raw: bytes, newest: int, upgrades: Mapping[int, Upgrade], error: ValidationError | None
) -> D:
    """Off the fast path: an older or newer version, or damage."""
    try:
        fields = json.loads(raw)
    except ValueError as broken:
        raise _corrupt(kind, f"not JSON ({broken})") from broken
    version = fields.get("schema_version", 1) if isinstance(fields, dict) else None
    if not isinstance(version, int):
        raise _corrupt(kind, "no version in it") from error
    if version > newest:
        raise Corrupt(
            f"a stored {kind.__name__} has schema version {version}, this zlayer knows {newest}",
            hint="a newer zlayer wrote it: run that version or a later one",
        )
    if version == newest or any(step not in upgrades for step in range(version, newest)):
        raise _corrupt(kind, _words(error)) from error
    try:
        for step in range(version, newest):
            fields = {**upgrades[step](fields), "schema_version": step + 1}
        return kind.model_validate(fields)
    except (ValueError, TypeError, LookupError) as misfit:  # ValidationError is a ValueError
        raise _corrupt(kind, _words(misfit)) from misfit


def _words(error: Exception | None) -> str:
    """In one line: where it does not fit, and why."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
    return "; ".join(faults[:SHOWN]) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")


def _newest(kind: type[Document]) -> int:
    field = kind.model_fields.get("schema_version")
    return int(field.default) if field else 1


def _corrupt(kind: type[Document], what: str) -> Corrupt:
    return Corrupt(
        f"a stored {kind.__name__} cannot be read: {what}",
        hint=HINT,
    )
