"""Header blocks: names, numbers, checksums."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.tar_header import DIRECTORY, REGULAR, parse_header, parse_number
from zlayer.model.errors import Corrupt
from zlayer.testing.hostile_tars import header


@given(
    name=st.text("abcdefgh/", min_size=1, max_size=90),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32),
    size=st.integers(0, 2**40),
    mtime=st.integers(-(2**33), 2**33),
)
def test_what_tarfile_writes_is_read(name: str, mode: int, uid: int, size: int, mtime: int) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.size, info.mtime = mode, uid, uid // 2, size, mtime
    read = parse_header(info.tobuf(tarfile.GNU_FORMAT)[-512:])
    assert read.name.decode() == name
    assert (read.mode, read.uid, read.gid, read.size, read.mtime) == (mode, uid, uid // 2, size, mtime)


def test_a_ustar_prefix_is_put_in_front() -> None:
    assert parse_header(header(b"name", prefix=b"some/where")).name == b"some/where/name"


def test_an_old_gnu_header_has_no_prefix() -> None:
    assert parse_header(header(b"name", prefix=b"\1\2\3", magic=b"ustar  \0")).name == b"name"


def test_a_v7_name_with_a_slash_is_a_directory() -> None:
    assert parse_header(header(b"d/", b"\0", magic=b"")).kind == DIRECTORY
    assert parse_header(header(b"f", b"\0", magic=b"")).kind == REGULAR
    assert parse_header(header(b"f", b"7")).kind == REGULAR


def test_a_name_may_fill_its_field() -> None:
    assert parse_header(header(b"n" * 100)).name == b"n" * 100


@pytest.mark.parametrize(
    ("field", "value"),
    [(b"0000017\0", 15), (b" 17 \0\0\0\0", 15), (bytes(8), 0), (b"\x80" + bytes(6) + b"\1", 1)],
)
def test_numbers(field: bytes, value: int) -> None:
    assert parse_number(field, "uid") == value


def test_only_times_may_be_negative() -> None:
    assert parse_number(b"\xff" * 12, "mtime", signed=True) == -1
    with pytest.raises(Corrupt, match="uid"):
        parse_number(b"\xff" * 12, "uid")


@pytest.mark.parametrize("field", [b"0000008\0", b"0x1\0", b"1_0\0", b"-1\0", b"+1\0", b"1 1\0"])
def test_what_is_no_number_is_corrupt(field: bytes) -> None:
    with pytest.raises(Corrupt, match="size"):
        parse_number(field, "size")


def test_signed_checksums_of_old_tars_are_right_too() -> None:
    block = bytearray(header(b"\xe4\xf6"))
    block[148:156] = b"%06o\0 " % (int(bytes(block[148:154]), 8) - 2 * 256)
    assert parse_header(bytes(block)).name == b"\xe4\xf6"


@given(st.integers(0, 511), st.integers(0, 7))
def test_any_flipped_bit_is_found(byte: int, bit: int) -> None:
    block = bytearray(header(b"name", size=5))
    block[byte] ^= 1 << bit
    if 148 <= byte < 156:  # in the checksum itself: a digit may turn into another spelling of the same number
        return
    with pytest.raises(Corrupt):
        parse_header(bytes(block))
