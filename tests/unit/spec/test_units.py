from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid
from zlayer.spec.units import (
    DURATION_UNITS,
    format_duration,
    format_memory,
    parse_cpu,
    parse_duration,
    parse_memory,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("500ms", 0.5), ("10s", 10), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400), ("2days", 172_800),
     (" 1 week ", 604_800), ("1.5s", 1.5), ("1M", 2_630_016), ("250us", 0.00025), ("3ns", 3e-9)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("", ""), ("30", "30s"), ("2.5", "2.5s"), ("10 sek", "10sec"), ("ten seconds", ""), ("-5s", ""), ("5s x", ""),
     ("1000y", ""), ("9" * 30 + "s", ""), ("٣s", "")],
)  # fmt: skip
def test_what_is_no_duration_is_mended_where_it_can_be(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_duration(text)
    assert caught.value.problems[0].suggestion == suggestion
    assert caught.value.problems[0].kind == "InvalidDuration"


@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.sampled_from(sorted(set(DURATION_UNITS) - {"y", "M"}))),
        min_size=1,
        max_size=12,
    )
)
def test_durations_come_back(parts: list[tuple[int, str]]) -> None:
    try:
        seconds = parse_duration(" ".join(f"{count}{unit}" for count, unit in parts))
    except Invalid as bad:
        assert "longer than" in bad.message  # noqa: PT017 -- the sum of many years
        return
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**18))
def test_any_number_of_nanoseconds_is_written_in_one_way(nanos: int) -> None:
    text = format_duration(nanos / 1e9)
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512Mi", 512 << 20), ("1.5Gi", 3 << 29), ("64m", 64 << 20), ("1gb", 1 << 30), ("2 KiB", 2048),
     ("1T", 1 << 40), ("100b", 100), ("0.5k", 512)],
)  # fmt: skip
def test_memory(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("", ""), ("0", ""), ("0.1b", ""), ("-1", ""), ("512Mx", "512Mi"), ("5 parsecs", ""), ("9999999999Ti", "")],
)
def test_what_is_no_size_is_mended_where_it_can_be(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_memory(text)
    assert caught.value.problems[0].suggestion == suggestion
    assert caught.value.problems[0].kind == "InvalidMemoryFormat"


@given(st.integers(1, 2**63 - 1))
def test_sizes_come_back(size: int) -> None:
    assert parse_memory(format_memory(size)) == size


@pytest.mark.parametrize(("text", "cores"), [("1", 1.0), ("0.25", 0.25), ("1e1", 10.0)])
def test_cpu(text: str, cores: float) -> None:
    assert parse_cpu(text) == cores


@pytest.mark.parametrize(
    ("text", "suggestion"), [("0", ""), ("-1", ""), ("nan", ""), ("inf", ""), ("250m", "0.25"), ("0m", ""), ("two", "")]
)
def test_what_is_no_cpu_share(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_cpu(text)
    assert caught.value.problems[0].suggestion == suggestion


@given(st.floats(min_value=1e-6, max_value=10_000))
def test_cpu_comes_back(cores: float) -> None:
    assert parse_cpu(str(cores)) == cores
