from __future__ import annotations

import pytest

from zlayer.cli.render import times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (59.9, "59 seconds"), (60, "1 minute"), (7199, "1 hour"), (200_000, "2 days")],
)
def test_lasting(seconds: float, text: str) -> None:
    assert times.lasting(seconds) == text


def test_times_are_read_in_either_form() -> None:
    assert times.seconds_of("1970-01-01T00:01:00Z") == 60
    assert times.seconds_of("1970-01-01T00:01:00.500000Z") == 60.5
    assert times.seconds_of("1970-01-01T00:01:00") == 60
    assert times.seconds_of(60) == 60
    assert times.seconds_of(None) is None
    assert times.seconds_of("soon") is None


def test_away() -> None:
    assert times.away("1970-01-01T00:03:00Z", 60) == "in 2 minutes"
    assert times.away("1970-01-01T00:01:00Z", 180) == "2 minutes ago"
    assert times.away(None, 1) == ""


def test_ago() -> None:
    assert times.ago("1970-01-01T00:01:00Z", 180) == "2 minutes ago"
    assert times.ago("1970-01-01T00:01:00Z", 59) == "0 seconds ago"
    assert times.ago(None, 1) == ""


def test_rfc3339() -> None:
    assert times.rfc3339(60.25) == "1970-01-01T00:01:00.250Z"
    assert times.rfc3339("as it is") == "as it is"
    assert times.rfc3339(None) == ""


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**41, "2.0 TiB")]
)
def test_size(count: int, text: str) -> None:
    assert times.size(count) == text
