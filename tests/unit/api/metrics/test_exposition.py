"""The text of a scrape (zlayer.api.metrics.exposition), read back by a reader of its own."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.api.metrics.exposition import Family, Sample, counter, exposition, gauge, one
from zlayer.testing.prometheus import parse

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(st.integers(), st.floats())
LABELS = st.dictionaries(NAMES, TEXT, max_size=3)
SAMPLES = st.lists(st.tuples(LABELS, NUMBERS), unique_by=lambda sample: str(sorted(sample[0].items())))


def test_the_text_to_the_byte() -> None:
    families = [
        counter("a_total", "Of a \\ and\na line.", [({"path": 'C:\\"x"\n', "n": "1"}, 3), ({}, 0.1)]),
        gauge(
            "b_seconds", "Times.", [({"of": kind}, value) for kind, value in (("now", 1e9 + 0.25), ("no", math.inf))]
        ),
        gauge("c", "Nothing.", []),
        gauge("d", "Big.", one(1 << 60)),
    ]
    assert exposition(families).decode() == (
        "# HELP a_total Of a \\\\ and\\na line.\n# TYPE a_total counter\n"
        'a_total{path="C:\\\\\\"x\\"\\n",n="1"} 3\na_total 0.1\n'
        "# HELP b_seconds Times.\n# TYPE b_seconds gauge\n"
        'b_seconds{of="now"} 1000000000.25\nb_seconds{of="no"} +Inf\n'
        "# HELP c Nothing.\n# TYPE c gauge\n"
        "# HELP d Big.\n# TYPE d gauge\nd 1152921504606846976\n"
    )


@given(NAMES, TEXT.filter(bool), SAMPLES)
def test_what_is_written_is_read_back(name: str, about: str, samples: list[Sample]) -> None:
    kind: Literal["counter", "gauge"] = "counter" if name.endswith("_total") else "gauge"
    samples = [(labels, abs(value)) for labels, value in samples if kind == "gauge" or math.isfinite(value)]
    metric = parse(exposition([Family(name, kind, about, tuple(samples))]).decode())[name]
    assert (metric.kind, metric.about, len(metric.samples)) == (kind, about, len(samples))
    for labels, value in samples:
        found = metric.value(**labels)
        assert found == value or (math.isnan(found) and math.isnan(value)) or found == pytest.approx(value)


def test_what_is_no_text_breaks_no_scrape() -> None:
    body = exposition([gauge("a", "About.", [({"b": "\udcff"}, 1)])])
    assert body.endswith(b'a{b="\\udcff"} 1\n')


@pytest.mark.parametrize(("name", "kind"), [("A", "gauge"), ("a b", "gauge"), ("a_total", "gauge"), ("a", "counter")])
def test_a_name_that_breaks_a_rule_is_a_defect(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"metric|_total"):
        Family(name, kind, "About.", ())  # type: ignore[arg-type]  # a string of ours
