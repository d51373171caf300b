"""The strict reader of scrapes (zlayer.testing.prometheus)."""

from __future__ import annotations

import pytest

from zlayer.testing.prometheus import parse

GOOD = '# HELP a_total Of \\\\ and \\n.\n# TYPE a_total counter\na_total{b="x\\"y\\\\z\\n",c=""} 7\na_total 0.5\n'


def test_it_reads_what_is_right() -> None:
    metric = parse(GOOD)["a_total"]
    assert (metric.kind, metric.about) == ("counter", "Of \\ and \n.")
    assert metric.value(b='x"y\\z\n', c="") == 7
    assert metric.value() == 0.5
    assert metric.labels("c") == {""}


@pytest.mark.parametrize(
    "text",
    [
        GOOD.removesuffix("\n"),
        GOOD + GOOD,
        GOOD + "a_total 1\n",
        GOOD + "b_total 1\n",
        GOOD + 'a_total{x="1"} -1\n',
        GOOD + 'a_total{x="1"} NaN\n',
        GOOD + 'a_total{x="1",} 1\n',
        GOOD + 'a_total{x="1",x="2"} 1\n',
        GOOD + 'a_total{x="\\t"} 1\n',
        GOOD + "a_total{x=1} 1\n",
        GOOD + "a_total  1\n",
        GOOD + "\n",
        "# HELP a About.\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a About.\n# TYPE a thing\na 1\n",
        "# HELP a Ab\\out.\n# TYPE a gauge\na 1\n",
        "a 1\n",
    ],
)
def test_it_refuses_what_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
