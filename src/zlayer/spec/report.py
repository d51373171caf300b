"""Collecting every fault of a file, with its place and the nearest valid word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from zlayer.model.errors import Invalid, Problem
from zlayer.spec.nodes import Node, Path, Source, dotted, pointer, shorten

MAX_PROBLEMS = 500
MAX_SUGGESTIONS = 100
UNSUPPORTED = "Unsupported"


def refused(message: str, *, suggestion: str = "", kind: str = "InvalidValue") -> Invalid:
    """What value parsers raise: one problem that knows no place yet."""
    return Invalid(message, problems=(Problem(message, suggestion=suggestion, kind=kind),))


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid word a person most likely meant, or empty."""
    if len(word) > 64:
        return ""
    words = {v.lower().replace("-", "_"): v for v in valid}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), words, n=1, cutoff=0.6)
    return words[found[0]] if found else ""


@dataclass(slots=True)
class Report:
    """Bounded: past `MAX_PROBLEMS` faults are only counted, past `MAX_SUGGESTIONS` nothing is guessed."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    dropped: int = 0

    def add(self, problem: Problem) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            self.dropped += 1
        elif problem not in self.problems[-8:]:
            self.problems.append(problem)

    def raise_if_any(self) -> None:
        """Raises `Invalid` with the problems in reading order."""
        if not self.problems:
            return
        found = sorted(self.problems, key=lambda p: (p.line, p.column, p.path))
        count = len(found) + self.dropped
        name = self.file or "the deployment"
        message = str(found[0]) if count == 1 else f"{name} has {count} problems"
        later = all(p.kind == UNSUPPORTED for p in found)
        hint = "remove these keys, or wait for the release that honours them" if later else ""
        raise Invalid(message, hint=hint or "mend each line named; nothing was changed", problems=tuple(found))


@dataclass(frozen=True, slots=True)
class At:
    """A place in the document being read: where faults found there are reported."""

    report: Report
    path: Path = ()

    def __truediv__(self, part: str | int) -> At:
        return At(self.report, (*self.path, part))

    @property
    def key(self) -> str:
        """The last map key of the path: what a person would call this value."""
        return next((str(part) for part in reversed(self.path) if isinstance(part, str)), "the file")

    def refuse(self, node: Node, message: str, *, suggestion: str = "", kind: str = "InvalidValue") -> None:
        place = (self.report.file, node.line, node.column)
        self.report.add(Problem(message, dotted(self.path), *place, suggestion, kind, pointer(self.path)))

    def not_yet(self, node: Node, what: str) -> None:
        self.refuse(node, f"not supported yet: {what}", kind=UNSUPPORTED)

    def replay(self, node: Node, bad: Invalid) -> None:
        """Give the problems of a value parser this place."""
        for problem in bad.problems:
            self.refuse(node, problem.message, suggestion=problem.suggestion, kind=problem.kind)

    def nearest(self, word: str, valid: Iterable[str]) -> str:
        return nearest(word, valid) if len(self.report.problems) < MAX_SUGGESTIONS else ""

    def unknown(self, node: Node, what: str, word: str, valid: Iterable[str], *, suggestion: str = "") -> None:
        options = tuple(valid)
        listed = f"; expected {', '.join(options)}" if len(options) <= 8 else ""
        near = suggestion or self.nearest(word, options)
        self.refuse(node, f"unknown {what} {shorten(word)!r}{listed}", suggestion=near)


@dataclass(frozen=True, slots=True)
class Found:
    """Reports by path alone, for checks that run on a spec already read."""

    report: Report
    source: Source

    def add(self, path: Path, message: str, *, suggestion: str = "", kind: str) -> None:
        line, column = self.source.locate(path)
        place = (self.report.file, line, column)
        self.report.add(Problem(message, dotted(path), *place, suggestion, kind, pointer(path)))

    def nearest(self, word: str, valid: Iterable[str]) -> str:
        return At(self.report).nearest(word, valid)
