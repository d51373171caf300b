"""Shapes of single values. A shape reads a node, or reports why not; and describes itself as JSON Schema.

`read` returns None only after reporting, so a reader goes on and every fault of a file is found in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import Node, Scalar, kind, shorten
from zlayer.spec.report import At

Json = dict[str, Any]
"""A JSON Schema: any JSON."""
T_co = TypeVar("T_co", covariant=True)


class Shape(Protocol[T_co]):
    def read(self, node: Node, at: At) -> T_co | None:
        """The value, or None after at least one problem was reported at `at`."""
        ...

    def schema(self) -> Json:
        """JSON Schema (2020-12) of what `read` accepts; never narrower, and as wide as a schema must be."""
        ...


def scalar(node: Node, at: At, expected: str) -> Scalar | None:
    """The node as an untagged scalar that holds something."""
    if isinstance(node, Scalar) and node.value is not None and not node.tag:
        return node
    if isinstance(node, Scalar) and node.value is None:
        at.refuse(node, f"{at.key} has no value: expected {expected}, or remove the key", kind="MissingValue")
    else:
        what = f"the tag {shorten(node.tag)}" if node.tag else kind(node)
        at.refuse(node, f"expected {expected}, not {what}", kind="WrongType")
    return None


def as_text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Text:
    """Text, by `check` to its normal form. `loose` takes numbers and true/false as they are written."""

    about: str = ""
    check: Callable[[str], str] = as_text
    pattern: str = ""
    loose: bool = False
    expected: str = "text"
    empty: bool = True
    fault: str = "InvalidValue"

    def read(self, node: Node, at: At) -> str | None:
        found = scalar(node, at, self.expected)
        if found is None:
            return None
        if not self.loose and not isinstance(found.value, str):
            message = f"expected {self.expected}, not {kind(found)}"
            at.refuse(node, message, suggestion=f'"{found.text}"', kind="WrongType")
            return None
        if not self.empty and not found.text.strip():
            at.refuse(node, f"{at.key} is empty", kind=self.fault)
            return None
        try:
            return self.check(found.text)
        except Invalid as bad:
            at.replay(node, bad)
            return None

    def schema(self) -> Json:
        schema: Json = {"type": ["string", "number", "boolean"] if self.loose else "string"}
        if self.pattern:
            schema["pattern"] = self.pattern
        if not self.empty:
            schema["minLength"] = 1
        return described(schema, self.about)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds."""

    about: str = ""
    low: int = 0
    high: int = 2**31 - 1
    fault: str = "InvalidValue"

    def read(self, node: Node, at: At) -> int | None:
        found = scalar(node, at, "a whole number")
        if found is None:
            return None
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int):
            plain = found.text.strip() if isinstance(value, str) else ""
            mend = plain if plain.isascii() and plain.isdigit() and len(plain) < 20 else ""
            message = f"expected a whole number, not {kind(found)}"
            at.refuse(node, message, suggestion=mend, kind=self.fault if self.fault != "InvalidValue" else "WrongType")
            return None
        if not self.low <= value <= self.high:
            at.refuse(node, f"{at.key} must be {self.low} to {self.high}, not {value}", kind=self.fault)
            return None
        return value

    def schema(self) -> Json:
        return described({"type": "integer", "minimum": self.low, "maximum": self.high}, self.about)


@dataclass(frozen=True, slots=True)
class Flag:
    about: str = ""

    def read(self, node: Node, at: At) -> bool | None:
        found = scalar(node, at, "true or false")
        if found is None:
            return None
        if isinstance(found.value, bool):
            return found.value
        mend = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
        suggestion = mend.get(found.text.lower(), at.nearest(found.text, ("true", "false")))
        at.refuse(node, f"expected true or false, not {kind(found)}", suggestion=suggestion, kind="WrongType")
        return None

    def schema(self) -> Json:
        return described({"type": "boolean"}, self.about)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words. `later` words are known and refused as not supported yet."""

    about: str
    words: tuple[str, ...]
    later: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    """Words people bring from elsewhere, with the one they mean here."""

    def read(self, node: Node, at: At) -> str | None:
        found = scalar(node, at, f"one of {', '.join((*self.words, *self.later))}")
        if found is None:
            return None
        if found.text in self.words:
            return found.text
        if found.text in self.later:
            at.not_yet(node, f"{at.key}: {found.text}")
        else:
            near = self.synonyms.get(found.text, "")
            at.unknown(node, at.key, found.text, (*self.words, *self.later), suggestion=near)
        return None

    def schema(self) -> Json:
        return described({"type": "string", "enum": list(self.words)}, self.about)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Text or a number with a unit, by `parse` to a number of the base unit."""

    about: str
    parse: Callable[[str], float]
    written: Json = field(default_factory=dict)
    expected: str = "a number"

    def read(self, node: Node, at: At) -> float | None:
        found = scalar(node, at, self.expected)
        if found is None:
            return None
        if isinstance(found.value, bool):
            at.refuse(node, f"expected {self.expected}, not {kind(found)}", kind="WrongType")
            return None
        try:
            return self.parse(found.text)
        except Invalid as bad:
            at.replay(node, bad)
            return None

    def schema(self) -> Json:
        return described(dict(self.written), self.about)


def described(schema: Json, about: str) -> Json:
    return {**schema, "description": about} if about else schema
