"""Extraction: what comes out, what is refused, and that nothing outside is ever touched."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.image.extract import LayerResult, extract_layer
from zlayer.image.marks import Marks
from zlayer.image.tar_reader import Limits
from zlayer.image.trees import remove_tree
from zlayer.model.errors import BY_CODE, Denied, Exhausted, ZlayerError
from zlayer.testing import hostile_tars as hostile
from zlayer.testing import imagery_samples as samples
from zlayer.testing.hostile_tars import Hostile
from zlayer.testing.imagery_tar import Tar

pytestmark = pytest.mark.root


class Ground:
    """A target to extract into, and beside it a tree that must never change."""

    def __init__(self, root: Path) -> None:
        self.target = root / "target"
        self.outside = root / "outside"
        self.target.mkdir()
        (self.outside / "deep").mkdir(parents=True)
        (self.outside / "sentinel").write_bytes(b"untouched")
        self._before = self.look()

    def look(self) -> list[tuple[str, os.stat_result, bytes]]:
        """Everything outside, with contents and metadata; access times apart."""
        found = []
        for path in sorted([self.outside.parent, *self.outside.parent.rglob("*")]):
            if self.target in (path, *path.parents):
                continue
            status = path.lstat()
            times = (status.st_mode, status.st_uid, status.st_nlink, status.st_size, status.st_ctime_ns)
            found.append((str(path), times, path.read_bytes() if path.is_file() else b""))
        return found  # type: ignore[return-value]  # a tuple of the fields that count

    def assert_untouched(self) -> None:
        assert self.look() == self._before

    def extract(self, archive: bytes | Tar, **options: object) -> LayerResult:
        raw = archive.finish() if isinstance(archive, Tar) else archive
        return extract_layer(io.BytesIO(raw), self.target, **options)  # type: ignore[arg-type]


@pytest.fixture
def ground() -> Iterator[Ground]:
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield Ground(root)
    remove_tree(root)


CASES = hostile.hostile_tars(b"/nowhere")


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_hostile_archive_is_refused_and_touches_nothing(ground: Ground, number: int) -> None:
    case: Hostile = hostile.hostile_tars(os.fsencode(ground.outside))[number]
    with pytest.raises(ZlayerError) as caught:
        ground.extract(case.archive)
    assert type(caught.value) is BY_CODE[case.error]
    assert case.says in caught.value.message
    assert caught.value.hint
    ground.assert_untouched()


NAMES = st.sampled_from([b"a", b"b", b"a/b", b"b/a", b"a/b/a", b"./a", b"/a", b"a/../b", b"..", b"a//b", b".wh.a",
                         b"a/.wh.b", b"a/.wh..wh..opq", b".wh..wh..opq", b"a/", b"\xff", b"."])  # fmt: skip
TARGETS = st.sampled_from([b"a", b"b", b"../outside", b"OUTSIDE", b"/", b"..", b".", b"a/b", b"OUTSIDE/sentinel"])
MEMBERS = st.one_of(
    st.builds(lambda name: ("member", name, b"data"), NAMES),
    st.builds(lambda name: ("directory", name, b""), NAMES),
    st.builds(lambda name, target: ("symlink", name, target), NAMES, TARGETS),
    st.builds(lambda name, target: ("hardlink", name, target), NAMES, TARGETS),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=8))
def test_no_archive_of_links_and_paths_leaves_the_target(members: list[tuple[str, bytes, bytes]]) -> None:
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    try:
        ground = Ground(root)
        raw = b""
        for kind, name, second in members:
            place = second.replace(b"OUTSIDE", os.fsencode(ground.outside))
            raw += hostile.directory(name) if kind == "directory" else getattr(hostile, kind)(name, place)
        with suppress(ZlayerError):
            ground.extract(raw + hostile.END)
        ground.assert_untouched()
    finally:
        remove_tree(root)


def test_the_nasty_layer_comes_out_as_it_went_in(ground: Ground) -> None:
    import zstandard

    raw = zstandard.ZstdDecompressor().decompress(samples.nasty_layers()[1].blob.read(), max_output_size=1 << 20)
    result = ground.extract(raw)
    assert result.entries == 28

    def look(name: str) -> os.stat_result:
        return (ground.target / name).lstat()

    for name in ("gone", "kept/deleted", "never-was"):
        assert stat.S_ISCHR(look(name).st_mode)
        assert look(name).st_rdev == 0
    assert os.getxattr(ground.target / "opaque", "trusted.overlay.opaque") == b"y"
    assert (stat.S_IMODE(look("opaque").st_mode), look("opaque").st_uid, look("opaque").st_gid) == (0o750, 7, 8)
    assert os.getxattr(ground.target / "becomes-directory", "trusted.overlay.opaque") == b"y"
    assert look("first").st_ino == look("second").st_ino == look("kept/third").st_ino
    assert look("first").st_nlink == 3
    assert (stat.S_IMODE(look("setuid").st_mode), look("setuid").st_uid) == (0o4755, 1000)
    assert (stat.S_IMODE(look("setgid").st_mode), look("setgid/inside").st_gid) == (0o2775, 0)
    assert stat.S_IMODE(look("sticky").st_mode) == 0o1777
    assert (look("big-owner").st_uid, look("big-owner").st_gid) == (samples.BIG_ID, samples.BIG_ID - 1)
    assert os.getxattr(ground.target / "attributes", "user.colour") == b"blau \xc3\xa4"
    assert "trusted.overlay.metacopy" not in os.listxattr(ground.target / "attributes")
    assert os.getxattr(ground.target / "capable", "security.capability") == samples.CAP_NET_BIND
    assert (look("null").st_rdev, stat.S_IMODE(look("null").st_mode)) == (os.makedev(1, 3), 0o666)
    assert stat.S_ISBLK(look("disk").st_mode)
    assert stat.S_ISFIFO(look("pipe").st_mode)
    assert ((ground.target / "dangling").readlink(), look("dangling").st_uid) == (Path("../../etc/passwd"), 5)
    assert (ground.target / samples.LONG_NAME).read_bytes() == b"long\n"
    assert look(samples.LONG_NAME).st_mtime_ns == 1_600_000_000_250_000_000
    assert look("empty").st_mtime == -86400
    assert (Path(os.fsdecode(os.fsencode(ground.target) + b"/\xff-not-utf8"))).read_bytes() == b"raw\n"
    assert (ground.target / "odd \t name\\").read_bytes() == b"odd\n"
    ground.assert_untouched()


def test_the_last_member_of_a_name_stays(ground: Ground) -> None:
    tar = Tar().file("f", b"1").file("f", b"2")
    tar.directory("d", mode=0o700).file("d/x", b"1").file("d", b"now a file")
    tar.file("e", b"1").directory("e").file("e/x", b"2")
    tar.symlink("s", "f").file("s", b"3")
    tar.file("h", b"h").file("k", b"k").hardlink("k", "h")
    ground.extract(tar)
    found = {p.relative_to(ground.target).as_posix(): p.read_bytes() for p in ground.target.rglob("*") if p.is_file()}
    assert found == {"f": b"2", "d": b"now a file", "e/x": b"2", "s": b"3", "h": b"h", "k": b"h"}


def test_a_directory_named_again_keeps_its_files_and_takes_the_last_mode(ground: Ground) -> None:
    ground.extract(Tar().directory("d", mode=0o700).file("d/x", b"1").directory("d", mode=0o711, mtime=5))
    assert (ground.target / "d/x").read_bytes() == b"1"
    assert stat.S_IMODE((ground.target / "d").stat().st_mode) == 0o711
    assert (ground.target / "d").stat().st_mtime == 5


def test_a_real_file_wins_over_its_whiteout(ground: Ground) -> None:
    ground.extract(Tar().whiteout("a").file("a", b"real").file("b", b"real").whiteout("b"))
    assert (ground.target / "a").read_bytes() == (ground.target / "b").read_bytes() == b"real"


@pytest.mark.parametrize("explicit", [True, False])
def test_a_directory_with_a_whiteout_hides_what_is_below(ground: Ground, explicit: bool) -> None:
    first, second = Tar().whiteout("d"), Tar()
    if explicit:
        first.directory("d")
        second.directory("d")
    first.file("d/x")
    ground.extract(first)
    assert os.getxattr(ground.target / "d", "trusted.overlay.opaque") == b"y"
    ground.extract(second.file("e/x").whiteout("e"))
    assert os.getxattr(ground.target / "e", "trusted.overlay.opaque") == b"y"


def test_an_opaque_marker_works_before_and_after_its_siblings(ground: Ground) -> None:
    ground.extract(Tar().opaque("a").file("a/x").file("b/x").opaque("b").opaque("").file(".wh..wh.aufs"))
    for directory in ("a", "b", ""):
        assert os.getxattr(ground.target / directory, "trusted.overlay.opaque") == b"y"
    assert not (ground.target / ".wh..wh.aufs").exists()


def test_whiteouts_below_an_opaque_directory_are_not_made(ground: Ground) -> None:
    """overlayfs lists them where the directory is the only one of its name. Found beside umoci."""
    tar = Tar().directory("d").whiteout("d/before").opaque("d").whiteout("d/after").directory("d/e").whiteout("d/e/x")
    tar.whiteout("f").directory("f").whiteout("f/x").directory("g").whiteout("g/x")
    ground.extract(tar)
    assert sorted(str(path.relative_to(ground.target)) for path in ground.target.rglob("*")) == [
        "d", "d/e", "f", "g", "g/x",
    ]  # fmt: skip
    assert stat.S_ISCHR((ground.target / "g/x").lstat().st_mode)


def test_missing_parents_are_made_plain(ground: Ground) -> None:
    before = os.umask(0o077)
    try:
        ground.extract(Tar().file("a/b/c", b"x"))
    finally:
        os.umask(before)
    for name in ("a", "a/b"):
        assert stat.S_IMODE((ground.target / name).stat().st_mode) == 0o755


def test_what_no_entry_describes_is_told(ground: Ground) -> None:
    tar = Tar().file("a/b/c", b"x").directory("a").file("d/e").file("d", b"a file now").file("./g/h")
    assert sorted(ground.extract(tar).marks.implied) == [b"a/b", b"g"]


def test_absolute_names_are_below_the_root(ground: Ground) -> None:
    ground.extract(Tar().file("/etc/x", b"1").directory("./", mode=0o711))
    assert (ground.target / "etc/x").read_bytes() == b"1"
    assert stat.S_IMODE(ground.target.stat().st_mode) == 0o711


def test_many_directories_do_not_exhaust_the_files(ground: Ground) -> None:
    tar = Tar()
    for number in range(1500):
        tar.file(f"d{number}/e/f", b"x")
    result = ground.extract(tar)
    assert replace(result, marks=Marks()) == LayerResult(1500, 1500)
    assert len(result.marks.implied) == 3000
    assert len(list(ground.target.glob("d*/e/f"))) == 1500


@pytest.mark.parametrize(
    ("limits", "says"), [(Limits(entries=3), "3 entries"), (Limits(size=9), "9 bytes")], ids=["entries", "size"]
)
def test_limits_are_told(ground: Ground, limits: Limits, says: str) -> None:
    tar = Tar()
    for number in range(4):
        tar.file(f"f{number}", b"abc")
    with pytest.raises(Exhausted, match=says):
        ground.extract(tar, limits=limits)


def test_data_without_end_after_the_archive_is_refused(ground: Ground) -> None:
    with pytest.raises(Exhausted, match="without end"):
        ground.extract(Tar().file("a").finish() + bytes(1 << 20), limits=Limits(size=1 << 19))


def test_devices_can_be_refused(ground: Ground) -> None:
    with pytest.raises(Denied, match="device"):
        ground.extract(Tar().device("null", "c", (1, 3)), devices=False)
    ground.extract(Tar().whiteout("gone"), devices=False)
    assert stat.S_ISCHR((ground.target / "gone").lstat().st_mode)


def test_no_descriptor_is_left_open(ground: Ground) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    ground.extract(Tar().file("a/b/c").finish())
    with suppress(ZlayerError):
        ground.extract(Tar().file("d/e").hardlink("f", "missing").finish())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
