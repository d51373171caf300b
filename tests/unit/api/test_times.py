from __future__ import annotations

import pytest

from zlayer.api.times import parse_since, rfc3339
from zlayer.model.errors import Invalid


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", 400.0),
        ("1h30m", -4400.0),
        ("1.5s", 998.5),
        ("250ms", 999.75),
        ("12.5", 12.5),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01 00:01:00", 60.0),
    ],
)
def test_since_as_people_write_it(text: str, wanted: float) -> None:
    assert parse_since(text, 1000.0) == wanted


def test_no_since_is_none() -> None:
    assert parse_since(None, 0) is None
    assert parse_since("", 0) is None


@pytest.mark.parametrize("text", ["soon", "10 minutes", "-5m", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_since(text, 0)
    assert "10m" in caught.value.hint


def test_times_go_out_in_utc_with_microseconds() -> None:
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250000Z"
