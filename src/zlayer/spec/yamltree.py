"""YAML text to a `Node` tree, straight from parser events: bounded in depth and size, nothing constructed.

Aliases share one node, so expanding them costs nothing here; what a walk over them would cost is counted and bounded
(the "billion laughs" file is refused). Scalars follow the YAML 1.2 core schema (yaml.org/spec/1.2.2, chapter 10.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from zlayer.model.errors import Invalid, Problem
from zlayer.spec.nodes import Listing, Node, Scalar, Table, shorten

MAX_TEXT = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000
CORE = "tag:yaml.org,2002:"
KNOWN_TAGS = {CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!", ""}

_INT = re.compile(r"[-+]?[0-9]{1,19}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?")
_SPECIAL = {f"{sign}.{name}" for name in ("inf", "Inf", "INF") for sign in ("", "+", "-")} | {".nan", ".NaN", ".NAN"}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Any: the C loader is untyped and may be absent


def parse(text: str, file: str) -> Node:
    """The document's tree. Raises `Invalid` with one positioned problem: after it nothing can be trusted."""
    if len(text) > MAX_TEXT:
        raise _fault(file, 1, 1, f"the file is larger than {MAX_TEXT >> 20} MiB")
    tree = _Tree(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            tree.take(event)
    except yaml.reader.ReaderError as bad:
        raise _unreadable(file, text, bad) from None
    except yaml.MarkedYAMLError as bad:
        raise _syntax(file, text, bad) from None
    except UnicodeEncodeError as bad:
        line, column = position(text, bad.start)
        raise _fault(file, line, column, "the text has half of a surrogate pair") from None
    if tree.root is None or (isinstance(tree.root, Scalar) and tree.root.value is None):
        raise _fault(file, 1, 1, "the file is empty")
    return tree.root


def position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar's value by the YAML 1.2 core schema."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text.lower() in {"true", "false"} and (text.islower() or text.isupper() or text.istitle()):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text in _SPECIAL:
        return float(text.replace(".", ""))
    return text


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been seen."""

    event: Any  # a yaml event: untyped there
    parts: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class _Tree:
    file: str
    root: Node | None = None
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    documents: int = 0

    def take(self, event: Any) -> None:  # Any: a yaml event
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise self.fault(event, "a second document starts here: one file is one deployment")
            case yaml.ScalarEvent():
                self.close(event, self.scalar(event), 1 + (len(event.value) >> 6))
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(self.stack) >= MAX_DEPTH:
                    raise self.fault(event, f"nested deeper than {MAX_DEPTH} levels")
                self.stack.append(_Open(event))
            case yaml.SequenceEndEvent():
                done = self.stack.pop()
                node = Listing(*self.at(done.event), tuple(done.parts), self.tag(done.event))
                self.close(done.event, node, done.size)
            case yaml.MappingEndEvent():
                done = self.stack.pop()
                self.close(done.event, self.table(done), done.size)

    def close(self, event: Any, node: Node, size: int) -> None:
        if getattr(event, "anchor", None):
            self.anchors[event.anchor] = (node, size)
        self.put(event, node, size)

    def put(self, event: Any, node: Node, size: int) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.parts.append(node)
        top.size += size
        if top.size > MAX_NODES:
            raise self.fault(event, f"more than {MAX_NODES} values (aliases counted as what they stand for)")

    def alias(self, event: Any) -> None:
        found = self.anchors.get(event.anchor)
        if found is None:
            inside = any(frame.event.anchor == event.anchor for frame in self.stack)
            what = "stands inside what it names" if inside else "names nothing above it"
            raise self.fault(event, f"the alias *{shorten(event.anchor)} {what}")
        self.put(event, *found)

    def scalar(self, event: Any) -> Scalar:
        tag = self.tag(event)
        plain = event.implicit[0] and not tag
        value = resolve(event.value) if plain or tag in _RESOLVED else event.value
        return Scalar(*self.at(event), value, event.value, "" if tag in KNOWN_TAGS else tag)

    def tag(self, event: Any) -> str:
        tag = event.tag or ""
        if tag.startswith(CORE) and tag not in KNOWN_TAGS:
            raise self.fault(event, f"the tag !!{shorten(tag.removeprefix(CORE))} is not part of a deployment")
        return "" if tag in {CORE + "map", CORE + "seq", "!"} else tag

    def table(self, done: _Open) -> Table:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(done.parts[::2], done.parts[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise _fault(self.file, key.line, key.column, "a key must be text, not a list or a map")
            if key.text == "<<":
                for entry in self.merges(value):
                    merged = entry.entries | merged
            elif key.text in own:
                first = own[key.text][0].line
                raise _fault(
                    self.file, key.line, key.column,
                    f"the key {shorten(key.text)!r} is given twice (first on line {first})", kind="DuplicateKey",
                )  # fmt: skip
            else:
                own[key.text] = (key, value)
        return Table(*self.at(done.event), {**merged, **own}, self.tag(done.event))

    def merges(self, value: Node) -> Iterator[Table]:
        for part in value.items if isinstance(value, Listing) else (value,):
            if not isinstance(part, Table):
                raise _fault(self.file, part.line, part.column, "<< merges maps: expected a map or a list of maps")
            yield part

    def at(self, event: Any) -> tuple[int, int]:
        return event.start_mark.line + 1, event.start_mark.column + 1

    def fault(self, event: Any, message: str) -> Invalid:
        return _fault(self.file, *self.at(event), message)


_RESOLVED = {CORE + name for name in ("int", "float", "bool", "null")}


def _fault(file: str, line: int, column: int, message: str, *, kind: str = "Syntax") -> Invalid:
    problem = Problem(message, file=file, line=line, column=column, kind=kind)
    return Invalid(str(problem), hint="mend it there; nothing was changed", problems=(problem,))


def _unreadable(file: str, text: str, bad: yaml.reader.ReaderError) -> Invalid:
    index = next((i for i, char in enumerate(text) if _odd(char)), 0)
    line, column = position(text, index)
    code = f" U+{ord(text[index]):04X}" if text and _odd(text[index]) else f" {bad.reason}"
    return _fault(file, line, column, f"a character that may not stand in YAML:{code}")


def _odd(char: str) -> bool:
    return (ord(char) < 32 and char not in "\t\n\r") or 0x7F <= ord(char) < 0xA0 or ord(char) in {0xFFFE, 0xFFFF}


def _syntax(file: str, text: str, bad: yaml.MarkedYAMLError) -> Invalid:
    mark = bad.problem_mark or bad.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    row = lines[line - 1] if line <= len(lines) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return _fault(file, line, row.index("\t") + 1, "a tab in the indentation: YAML indents by spaces")
    start = f" that starts on line {bad.context_mark.line + 1}" if bad.context_mark else ""
    context = f" {bad.context}{start}" if bad.context else ""
    return _fault(file, line, column, f"not YAML: {bad.problem or 'syntax error'}{context}")
