"""Extended headers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.tar_header import parse_header
from zlayer.image.tar_pax import apply_records, check_global, parse_records
from zlayer.model.errors import Corrupt
from zlayer.testing.hostile_tars import header, record

HEADER = parse_header(header(b"name", b"2", link=b"target", mtime=b"00000000012\0"))
KEYS = st.binary(min_size=1).filter(lambda key: b"=" not in key)


@given(st.lists(st.tuples(KEYS, st.binary())))
def test_records_come_out_as_written(records: list[tuple[bytes, bytes]]) -> None:
    assert parse_records(b"".join(record(key, value) for key, value in records)) == records


@given(st.binary(max_size=200))
def test_noise_is_records_or_corrupt(data: bytes) -> None:
    with suppress(Corrupt):
        records = parse_records(data)
        assert sum(len(key) + len(value) for key, value in records) <= len(data)


def test_records_overrule_the_header() -> None:
    values = apply_records(HEADER, {b"path": b"p", b"linkpath": b"l", b"size": b"7", b"uid": b"8", b"gid": b"9"})
    changed = values.header
    assert (changed.name, changed.link, changed.size, changed.uid, changed.gid) == (b"p", b"l", 7, 8, 9)


def test_an_empty_value_takes_the_headers_own() -> None:
    assert apply_records(HEADER, {b"path": b"", b"uid": b"", b"mtime": b""}).header == HEADER


def test_xattrs_keep_their_bytes() -> None:
    values = apply_records(HEADER, {b"SCHILY.xattr.user.a=": b"\0\xff\n", b"comment": b"x"})
    assert values.xattrs == ((b"user.a=", b"\0\xff\n"),)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1", 1_000_000_000),
        (b"1.5", 1_500_000_000),
        (b"0.0000000019", 1),
        (b"-1.25", -1_250_000_000),
        (b"3.", 3_000_000_000),
    ],
)
def test_times_have_fractions(text: bytes, nanoseconds: int) -> None:
    assert apply_records(HEADER, {b"mtime": text}).mtime == nanoseconds


def test_without_a_time_the_headers_counts() -> None:
    assert apply_records(HEADER, {}).mtime == 0o12 * 1_000_000_000


def test_a_global_header_may_set_owners_but_no_names() -> None:
    check_global({b"uid": b"5", b"comment": b"x", b"mtime": b"1"})
    for key in (b"path", b"linkpath", b"size", b"GNU.sparse.map"):
        with pytest.raises(Corrupt, match="global"):
            check_global({key: b"1"})
