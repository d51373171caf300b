"""Shapes made of shapes: lists, maps by name, and maps with known keys (records)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import Listing, Node, Scalar, Table, kind, shorten
from zlayer.spec.report import At
from zlayer.spec.shapes import Json, Shape, described

T = TypeVar("T")


def table(node: Node, at: At, expected: str, short: str = "") -> Table | None:
    """The node as an untagged map; `short` is the key a bare text was probably meant for."""
    if isinstance(node, Table) and not node.tag:
        return node
    text = shorten(node.text) if isinstance(node, Scalar) else ""
    _refuse_kind(node, at, expected, f"{{{short}: {text}}}" if short and text else "")
    return None


def listing(node: Node, at: At, expected: str) -> Listing | None:
    if isinstance(node, Listing) and not node.tag:
        return node
    _refuse_kind(node, at, expected)
    return None


def _refuse_kind(node: Node, at: At, expected: str, suggestion: str = "") -> None:
    if isinstance(node, Scalar) and node.value is None and not node.tag:
        at.refuse(node, f"{at.key} has no value: expected {expected}, or remove the key", kind="MissingValue")
        return
    what = f"the tag {shorten(node.tag)}" if node.tag else kind(node)
    at.refuse(node, f"expected {expected}, not {what}", suggestion=suggestion, kind="WrongType")


@dataclass(frozen=True, slots=True)
class ListOf(Generic[T]):
    """Items that read; `check` sees them with their positions in the list, to compare them with each other."""

    item: Shape[T]
    about: str = ""
    check: Callable[[tuple[tuple[int, T], ...], Listing, At], None] | None = None
    expected: str = "a list"

    def read(self, node: Node, at: At) -> tuple[T, ...] | None:
        found = listing(node, at, self.expected)
        if found is None:
            return None
        read = [(i, self.item.read(part, at / i)) for i, part in enumerate(found.items)]
        good = tuple((i, value) for i, value in read if value is not None)
        if self.check is not None:
            self.check(good, found, at)
        return tuple(value for _, value in good)

    def schema(self) -> Json:
        return described({"type": "array", "items": self.item.schema()}, self.about)


@dataclass(frozen=True, slots=True)
class MapOf(Generic[T]):
    """Values by name. `key` gives a name its normal form or raises `Invalid`; two names of one form are a fault."""

    item: Shape[T]
    key: Callable[[str], str]
    about: str = ""
    pattern: str = ""
    limit: int = 10_000

    def read(self, node: Node, at: At) -> dict[str, T] | None:
        found = table(node, at, "a map")
        if found is None:
            return None
        if len(found.entries) > self.limit:
            at.refuse(node, f"more than {self.limit} entries")
            return None
        values: dict[str, T] = {}
        for written, key, part in found:
            try:
                name = self.key(written)
            except Invalid as bad:
                (at / written).replay(key, bad)
                name = ""
            value = self.item.read(part, at / written)
            if name and name in values:
                (at / written).refuse(key, f"{name!r} is given twice", kind="DuplicateKey")
            elif name and value is not None:
                values[name] = value
        return values

    def schema(self) -> Json:
        schema: Json = {"type": "object", "additionalProperties": self.item.schema()}
        if self.pattern:
            schema["propertyNames"] = {"pattern": self.pattern}
        return described(schema, self.about)


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a record. `instead` stands in for a bad value, or a missing required one, so that checks go on."""

    shape: Shape[Any]  # Any: fields of a record are of many types; the record's model checks them
    required: bool = False
    to: str = ""
    """The model's name for it, where that differs from the written key."""
    instead: Any = None  # Any: as `shape`


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """A map of known keys, made into `model`. Keys of `later` are refused as not supported yet, others as unknown.

    A `later` shape, where given, also has the value's own faults told. `synonyms` are words people bring from
    elsewhere, with the key they mean here. `short` is the key a bare text was probably meant for. `check` sees the
    finished model.
    """

    model: Callable[..., T]
    fields: Mapping[str, Field]
    about: str = ""
    later: Mapping[str, Shape[Any] | None] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[T, Table, At], None] | None = None
    expected: str = "a map"
    short: str = ""

    def read(self, node: Node, at: At) -> T | None:
        found = table(node, at, self.expected, self.short)
        if found is None:
            return None
        meant = self._strangers(found, at)
        values: dict[str, Any] = {}  # Any: arguments of `model`
        complete = True
        for name, known in self.fields.items():
            part = found.get(name)
            value = known.shape.read(part, at / name) if part is not None else None
            if part is None and known.required and name not in meant:
                at.refuse(found, f"the key {name!r} is missing", kind="MissingKey")
            if value is None and (known.required or part is not None):
                value = known.instead
                complete = complete and (value is not None or not known.required)
            if value is not None:
                values[known.to or name] = value
        if not complete:
            return None
        made = self.model(**values)
        if self.check is not None:
            self.check(made, found, at)
        return made

    def _strangers(self, found: Table, at: At) -> set[str]:
        """Report keys that are not known; the keys they were probably meant to be."""
        meant: set[str] = set()
        known = (*self.fields, *self.later)
        synonyms = {word: name for word, name in self.synonyms.items() if name in known}
        for name, key, part in found:
            if name in self.later:
                (at / name).not_yet(key, name)
                if (shape := self.later[name]) is not None:
                    shape.read(part, at / name)
            elif name not in self.fields:
                near = name if name in synonyms else at.nearest(name, (*known, *synonyms))
                near = synonyms.get(near, near)
                at.refuse(key, f"unknown key {shorten(name)!r}", suggestion=near, kind="UnknownKey")
                meant.add(near)
        return meant

    def schema(self) -> Json:
        later: Json = {name: {"not": {}, "description": f"not supported yet: {name}"} for name in self.later}
        known: Json = {name: entry.shape.schema() for name, entry in self.fields.items()}
        schema: Json = {"type": "object", "properties": known | later, "additionalProperties": False}
        if required := [name for name, entry in self.fields.items() if entry.required]:
            schema["required"] = required
        return described(schema, self.about)
