"""Owner, mode, xattrs and times, in an order that keeps all of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.extract_meta import apply_to_descriptor, apply_to_name
from zlayer.image.tar_header import parse_header
from zlayer.image.tar_reader import Member
from zlayer.model.errors import Corrupt, Exhausted
from zlayer.testing.hostile_tars import header
from zlayer.testing.imagery_samples import CAP_NET_BIND

pytestmark = pytest.mark.root


def member(kind: bytes = b"0", *, mtime: int = 0, xattrs: dict[bytes, bytes] | None = None, **fields: bytes) -> Member:
    return Member(parse_header(header(b"file", kind, link=b"x", **fields)), mtime, tuple((xattrs or {}).items()), 0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_setuid_and_capabilities_survive_the_chown(file: int) -> None:
    wanted = member(uid=b"0001750\0", mode=b"0004711\0", xattrs={b"security.capability": CAP_NET_BIND})
    apply_to_descriptor(file, wanted)
    assert os.fstat(file).st_uid == 0o1750
    assert stat.S_IMODE(os.fstat(file).st_mode) == 0o4711
    assert os.getxattr(file, "security.capability") == CAP_NET_BIND


def test_overlayfs_and_host_attributes_are_dropped(file: int) -> None:
    dropped = {b"trusted.overlay.opaque": b"y", b"trusted.overlay.redirect": b"/etc", b"security.selinux": b"x"}
    apply_to_descriptor(file, member(xattrs={**dropped, b"user.kept": b"1"}))
    assert os.listxattr(file) == ["user.kept"]


def test_times_no_file_system_holds_are_the_nearest(file: int) -> None:
    apply_to_descriptor(file, member(mtime=1 << 80))
    assert os.fstat(file).st_mtime > 4_000_000_000
    apply_to_descriptor(file, member(mtime=-1_500_000_000))
    assert os.fstat(file).st_mtime_ns == -1_500_000_000


def test_a_link_gets_its_own_owner_and_time(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to("target")
    before = (tmp_path / "target").stat()
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        xattrs = {b"user.no-link-may": b"1", b"trusted.fine": b"1"}
        apply_to_name(parent, b"link", member(b"2", mtime=7, uid=b"0000005\0", xattrs=xattrs))
    finally:
        os.close(parent)
    after = (tmp_path / "link").lstat()
    assert (after.st_uid, after.st_mtime_ns) == (5, 7)
    assert os.listxattr(tmp_path / "link", follow_symlinks=False) == ["trusted.fine"]
    assert (tmp_path / "target").stat() == before


def test_attributes_without_room_are_told(file: int) -> None:
    big = {b"user.%d" % number: bytes(60_000) for number in range(40)}
    with pytest.raises(Exhausted, match="attributes"):
        apply_to_descriptor(file, member(xattrs=big))


def test_a_capability_that_is_none_is_corrupt(file: int) -> None:
    with pytest.raises(Corrupt, match=r"security\.capability"):
        apply_to_descriptor(file, member(xattrs={b"security.capability": b"nonsense"}))
