"""What was done when, so that each failure can be told with what was under way; and the rows of the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    at: float
    words: str


class Diary:
    """Steps in the order they began."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def note(self, words: str) -> None:
        self._steps.append(Step(time.time(), words))

    def between(self, began: float, ended: float) -> list[str]:
        """What was under way at `began`, and what came until `ended`; of many the last ones."""
        before = [step for step in self._steps if step.at <= began][-1:]
        meanwhile = [step for step in self._steps if began < step.at <= ended][-5:]
        return [f"{clock(step.at)} {step.words}" for step in (*before, *meanwhile)]


@dataclass(slots=True)
class Row:
    """One phase as it is reported. `kinds` are figures by kind of client, `lost` failures by kind."""

    kinds: dict[str, dict[str, float]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    goodbyes: int = 0
    certificates: int = 0
    dark: float = 0.0
    """Seconds in which nobody was answered."""
    phase: str = ""
    did: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, told: Mapping[str, Any], diary: Diary) -> Row:
        row = cls(**told)
        for failure in row.failures:
            failure["steps"] = diary.between(failure["began"], failure["ended"])
        return row

    @property
    def answered(self) -> int:
        return int(sum(figures["answered"] for figures in self.kinds.values()))

    @property
    def failed(self) -> int:
        return sum(self.lost.values())

    def add(self, kind: str, began: float, words: str, diary: Diary) -> None:
        """A failure that the rig itself saw."""
        now = time.time()
        self.lost[kind] = self.lost.get(kind, 0) + 1
        steps = diary.between(began, now)
        self.failures.append({"kind": kind, "began": began, "ended": now, "words": words, "steps": steps})

    def document(self) -> dict[str, Any]:
        return asdict(self)

    def told(self, most: int = 20) -> Iterator[str]:
        """Its failures, for people."""
        for one in self.failures[:most]:
            lasted = one["ended"] - one["began"]
            yield f"    lost: {one['kind']} begun {clock(one['began'])}, {lasted * 1e3:.0f} ms: {one['words']}"
            yield from (f"          {words}" for words in one["steps"])
        if (more := self.failed - most) > 0:
            yield f"    and {more} more"


def clock(at: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"


COLUMNS = ("new", "keepalive", "tls", "http2", "websocket", "slow")


def table(rows: list[Row]) -> Iterator[str]:
    """The summary: what was answered by kind, and what was lost."""
    heads = "".join(f"{kind:>11}" for kind in COLUMNS)
    yield f"{'phase':14}{'s':>7}{heads}{'goodbyes':>10}{'lost':>7}{'dark s':>8}"
    for row in rows:
        counts = "".join(f"{int(row.kinds.get(kind, {}).get('answered', 0)):>11}" for kind in COLUMNS)
        yield f"{row.phase:14}{row.seconds:>7.0f}{counts}{row.goodbyes:>10}{row.failed:>7}{row.dark:>8.1f}"
