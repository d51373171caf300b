"""Families of samples, and their text as Prometheus reads it (its docs, "Exposition formats", text format 0.0.4).

Written by us and not by `prometheus_client`: that library is for programs that count as they go, in a registry of the
process. Here all values are somebody else's (the store, HAProxy, the kernel) and are read at each scrape, so of the
library only the writer would be used, which is the sixty lines below: three characters to escape and one way to write
a number. Not worth a dependency that has to be locked, watched and imported at each start. OpenMetrics is not spoken:
Prometheus takes this format as well, and we have neither exemplars nor creation times, which are all it would add.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["counter", "gauge"]
Labels = Mapping[str, str]
Sample = tuple[Labels, float]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_IN_LABEL = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name, each with other labels. `about` is one sentence for people, units included.

    A counter only ever grows, but for starting again at or near 0; its name ends in `_total`. ValueError where the
    name breaks a rule.
    """

    name: str
    kind: Kind
    about: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"no name of a metric: {self.name!r}")
        if self.name.endswith("_total") != (self.kind == "counter"):
            raise ValueError(f"counters, and they alone, end in _total: {self.name}")


def counter(name: str, about: str, samples: Iterable[Sample]) -> Family:
    return Family(name, "counter", about, tuple(samples))


def gauge(name: str, about: str, samples: Iterable[Sample]) -> Family:
    return Family(name, "gauge", about, tuple(samples))


def one(value: float) -> tuple[Sample]:
    """The only sample of its family."""
    return (({}, value),)


def exposition(families: Iterable[Family]) -> bytes:
    """The body of a scrape. What is no text (a lone surrogate) stands in it escaped."""
    return "".join(line for family in families for line in _lines(family)).encode("utf-8", "backslashreplace")


def _lines(family: Family) -> Iterator[str]:
    name = family.name
    yield f"# HELP {name} {family.about.translate(_IN_HELP)}\n# TYPE {name} {family.kind}\n"
    for labels, value in family.samples:
        inner = ",".join([f'{key}="{text.translate(_IN_LABEL)}"' for key, text in labels.items()])
        yield f"{name}{{{inner}}} {_number(value)}\n" if inner else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    """As Go's ParseFloat takes it, without losing a digit."""
    if isinstance(value, int):
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
