"""Pages of lists: followed to the end they give all, once, in order."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.registry.faults import Refusal
from zlayer.registry.paging import count, link, page


@given(st.sets(st.text("abc/+ &", min_size=1, max_size=4), max_size=20), st.integers(1, 7))
def test_the_pages_together_are_the_list(names: set[str], size: int) -> None:
    ordered, seen, query = sorted(names), [], {"n": str(size)}
    for _ in range(30):
        part, last = page(ordered, query)
        assert len(part) <= size
        seen += part
        header = link("/v2/x/tags/list", query, last).get("Link")
        if header is None:
            break
        url = header.partition(">")[0].removeprefix("<")
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert seen == ordered


def test_numbers_that_are_none() -> None:
    for text in ("-1", "x", "", "1.5", "9" * 20, "²"):
        with pytest.raises(Refusal) as told:
            count({"n": text})
        assert told.value.code == "PAGINATION_NUMBER_INVALID"
    assert count({"n": "99999"}) == count({}) == 1000
    assert page(["a"], {"n": "0"}) == ([], "")
