"""A strict reader of Prometheus' text format 0.0.4, for tests: what a lenient scraper would take is refused here.

Written from the format's description and sharing nothing with our writer, so that one checks the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

LabelSet = frozenset[tuple[str, str]]
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?!$)|$)')
_ESCAPED = re.compile(r"\\(.)")
_HELP = re.compile(r"(?:[^\\]|\\[\\n])*")


@dataclass(slots=True)
class Metric:
    """`samples` by their labels."""

    kind: str
    about: str
    samples: dict[LabelSet, float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """Of the sample with exactly these labels. KeyError: there is none."""
        return self.samples[frozenset(labels.items())]

    def labels(self, name: str) -> set[str]:
        """Every value that a label has."""
        return {value for labels in self.samples for key, value in labels if key == name}


def parse(text: str) -> dict[str, Metric]:
    """Metrics by name. ValueError with the line that breaks a rule."""
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    found: dict[str, Metric] = {}
    lines = iter(text.split("\n")[:-1])
    name = ""
    for line in lines:
        if line.startswith("# HELP "):
            name, _, about = line.removeprefix("# HELP ").partition(" ")
            if name in found or not about or not _HELP.fullmatch(about):
                raise ValueError(f"twice, or without help: {line}")
            kind = next(lines, "").removeprefix(f"# TYPE {name} ")
            if kind not in ("counter", "gauge"):
                raise ValueError(f"no type follows: {line}")
            found[name] = Metric(kind, _plain(about))
        else:
            _sample(line, name, found)
    return found


def _sample(line: str, name: str, found: dict[str, Metric]) -> None:
    match = _SAMPLE.fullmatch(line)
    if match is None or match[1] != name or name not in found:
        raise ValueError(f"no sample of {name}: {line}")
    labels, metric = dict(_labels(match[2] or "", line)), found[name]
    value, key = float(match[3]), frozenset(labels.items())
    if key in metric.samples or (metric.kind == "counter" and not 0 <= value < float("inf")):
        raise ValueError(f"twice, or a counter that is none: {line}")
    metric.samples[key] = value


def _labels(text: str, line: str) -> Iterator[tuple[str, str]]:
    names, at = set(), 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None or match[1] in names or match[1].startswith("__"):
            raise ValueError(f"no labels: {line}")
        names.add(match[1])
        yield match[1], _plain(match[2])
        at = match.end()


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
