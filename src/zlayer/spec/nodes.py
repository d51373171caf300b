"""A YAML document as a tree whose every value knows its line and column (from 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zlayer.model.errors import json_pointer

Path = tuple[str | int, ...]
"""Where a value stands: map keys and list positions from the top of the document."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """`value` is resolved by the YAML 1.2 core schema (so `no` and `on` are text); `text` is what was written."""

    line: int
    column: int
    value: str | int | float | bool | None
    text: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    line: int
    column: int
    items: tuple[Node, ...]
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Keys are unique text in written order; merge keys are already merged in."""

    line: int
    column: int
    entries: dict[str, tuple[Scalar, Node]]
    tag: str = ""

    def __iter__(self) -> Iterator[tuple[str, Scalar, Node]]:
        return ((name, key, value) for name, (key, value) in self.entries.items())

    def get(self, name: str) -> Node | None:
        entry = self.entries.get(name)
        return entry[1] if entry else None


Node = Scalar | Listing | Table


def kind(node: Node) -> str:
    """What a person would call it: `a list`, `the number 5`, `nothing`."""
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Table):
        return "a map"
    match node.value:
        case None:
            return "nothing"
        case bool():
            return node.text.lower()
        case int() | float():
            return f"the number {node.text}"
        case _:
            return f"the text {shorten(node.text)!r}"


def shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def dotted(path: Path) -> str:
    return ".".join(shorten(str(part), 100) for part in path)


def pointer(path: Path) -> str:
    """The same for programs: a JSON pointer, keys of absurd length cut."""
    return json_pointer(shorten(str(part), 1000) for part in path)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a spec came from. All sources are equal: where it was written is no part of what it says."""

    file: str = ""
    root: Node | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source)

    def __hash__(self) -> int:
        return 0

    def at(self, path: Path) -> Node | None:
        node = self.root
        for part in path:
            if isinstance(node, Table):
                node = node.get(str(part))
            elif isinstance(node, Listing) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            else:
                return None
        return node

    def items(self, path: Path) -> Iterator[tuple[Path, Node]]:
        """The entries of the list at `path`, each with its own path."""
        node = self.at(path)
        for i, item in enumerate(node.items if isinstance(node, Listing) else ()):
            yield (*path, i), item

    def locate(self, path: Path) -> tuple[int, int]:
        """Line and column of the value at `path`, else of its nearest written ancestor; (0, 0) without a tree."""
        for end in range(len(path), -1, -1):
            if (node := self.at(path[:end])) is not None:
                return node.line, node.column
        return 0, 0
