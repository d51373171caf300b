"""Members of archives, as Python's and GNU tar write them."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.tar_header import REGULAR
from zlayer.image.tar_reader import Archive, Limits, Member, shown
from zlayer.model.errors import Corrupt
from zlayer.testing import hostile_tars as raw

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=80), min_size=1)


def members(data: bytes) -> list[Member]:
    return list(Archive(io.BytesIO(data), Limits()).members())


@given(NAMES.map("/".join), st.binary(max_size=2000), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_names_of_any_length_and_script_survive(name: str, body: bytes, form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for number in range(2):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(body), number
            tar.addfile(info, io.BytesIO(body))
    found = members(buffer.getvalue())
    written = tarfile.open(fileobj=io.BytesIO(buffer.getvalue())).getnames()  # noqa: SIM115 - in memory
    assert [os.fsdecode(member.header.name).rstrip("/") for member in found] == [each.rstrip("/") for each in written]
    assert [member.size for member in found] == [len(body)] * 2
    assert [member.mtime for member in found] == [0, 1_000_000_000]


def test_bodies_are_copied_exactly_or_skipped(tmp_path: Path) -> None:
    data = raw.member(b"a", b"x" * 700) + raw.member(b"b", b"y" * 300_000) + raw.member(b"c", b"z") + raw.END
    archive = Archive(io.BytesIO(data), Limits())
    for member in archive.members():
        if member.header.name != b"a":
            with (tmp_path / os.fsdecode(member.header.name)).open("wb") as file:
                archive.copy_body(member, file.fileno())
    assert (tmp_path / "b").read_bytes() == b"y" * 300_000
    assert (tmp_path / "c").read_bytes() == b"z"
    assert (archive.entries, archive.size) == (3, 300_701)


def test_global_records_hold_until_overruled() -> None:
    data = raw.pax([(b"uid", b"7"), (b"mtime", b"5")], b"g") + raw.member(b"a")
    data += raw.pax([(b"uid", b"8")]) + raw.member(b"b") + raw.pax([(b"uid", b"9")], b"g") + raw.member(b"c")
    found = members(data + raw.END)
    assert [member.header.uid for member in found] == [7, 8, 9]
    assert [member.mtime for member in found] == [5_000_000_000] * 3


def test_an_extended_header_counts_once() -> None:
    data = raw.pax([(b"path", b"long")]) + raw.member(b"a") + raw.member(b"b") + raw.END
    assert [member.header.name for member in members(data)] == [b"long", b"b"]


def test_several_extended_headers_add_up() -> None:
    data = raw.member(b"@", b"gnu-name\0", b"L") + raw.member(b"@", b"gnu-link\0", b"K")
    data += raw.pax([(b"uid", b"3")]) + raw.symlink(b"a", b"b") + raw.END
    (member,) = members(data)
    assert (member.header.name, member.header.link, member.header.uid) == (b"gnu-name", b"gnu-link", 3)


def test_links_and_directories_have_no_body_whatever_they_say() -> None:
    data = raw.header(b"d", b"5", size=900) + raw.header(b"l", b"1", size=900, link=b"x") + raw.member(b"f", b"1")
    assert [member.header.name for member in members(data + raw.END)] == [b"d", b"l", b"f"]


def test_a_volume_label_is_no_member() -> None:
    assert [member.header.kind for member in members(raw.header(b"label", b"V") + raw.member(b"f"))] == [REGULAR]


def test_an_archive_may_end_without_blocks_of_zeros() -> None:
    whole = raw.member(b"a", b"x")
    assert len(members(whole)) == len(members(whole + bytes(512))) == len(members(whole + raw.END)) == 1
    assert members(b"") == []


def test_the_stream_is_read_to_its_end() -> None:
    stream = io.BytesIO(raw.member(b"a") + raw.END + b"padding" * 100_000)
    assert len(list(Archive(stream, Limits()).members())) == 1
    assert stream.read() == b""


@given(st.binary(max_size=2048))
def test_noise_is_corrupt_or_empty(data: bytes) -> None:
    with suppress(Corrupt):
        assert not members(data) or data[:512].strip(b"\0")


def test_shown_names_are_short_and_printable() -> None:
    assert shown(b"\xff\n") == r"'\\xff\n'"
    assert len(shown(b"x" * 5000)) < 130
