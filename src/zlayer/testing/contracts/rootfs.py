"""What a root file system must show of layers as they come from archives. Subclass `RootfsContract`."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from zlayer.image.contract import Image, Snapshots
from zlayer.testing.imagery_tar import Tar

BIG = 2_500_000
CAPABLE = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service+ep, as in security.capability (<linux/capability.h>, version 2)."""


class RootfsBench(Protocol):
    """A driver with a data directory of its own, on any file system, as root."""

    def snapshots(self) -> Snapshots: ...

    def extracted(self, layers: Sequence[Tar]) -> Image:
        """An image of these layers, base first, extracted into the store."""
        ...

    def directory(self, key: str) -> Path: ...


class RootfsContract:
    most_layers = 500

    async def _mount(self, bench: RootfsBench, *layers: Tar, key: str = "a") -> Path:
        return (await bench.snapshots().mount(bench.extracted(layers), key, bench.directory(key))).rootfs

    async def _discard(self, bench: RootfsBench, key: str = "a") -> None:
        await bench.snapshots().unmount(key, bench.directory(key), discard=True)
        assert list(bench.directory(key).iterdir()) == []

    async def test_many_layers(self, bench: RootfsBench) -> None:
        layers = [Tar().file(f"f{number}").file("top", b"%d" % number) for number in range(self.most_layers)]
        rootfs = await self._mount(bench, *layers)
        assert len(list(rootfs.iterdir())) == self.most_layers + 1
        assert (rootfs / "top").read_bytes() == b"%d" % (self.most_layers - 1)
        await self._discard(bench)

    async def test_whiteouts_and_what_takes_a_name_over(self, bench: RootfsBench) -> None:
        below = Tar().directory("d").file("d/gone").file("d/stays").directory("was-directory").file("was-directory/x")
        below = below.file("was-file").symlink("was-link", "/etc").directory("tree").file("tree/x")
        above = Tar().whiteout("d/gone").whiteout("tree").file("was-directory", b"file").directory("was-file")
        above = above.directory("was-link").file("was-link/inside")
        rootfs = await self._mount(bench, below, above)
        assert [path.name for path in (rootfs / "d").iterdir()] == ["stays"]
        assert not (rootfs / "tree").exists()
        assert (rootfs / "was-directory").read_bytes() == b"file"
        assert list((rootfs / "was-file").iterdir()) == []
        assert (rootfs / "was-link/inside").exists()
        assert not (rootfs / "was-link").is_symlink()
        await self._discard(bench)

    async def test_an_opaque_directory_hides_what_is_below(self, bench: RootfsBench) -> None:
        below = Tar().directory("d", uid=3).file("d/old").directory("d/deep").file("d/deep/old")
        rootfs = await self._mount(bench, below, Tar().directory("d", uid=7).opaque("d").file("d/new"))
        assert [path.name for path in (rootfs / "d").iterdir()] == ["new"]
        assert (rootfs / "d").stat().st_uid == 7
        await self._discard(bench)

    @pytest.mark.parametrize("base", [[], [Tar().file("other")], [Tar().file("d", b"no directory")]])
    async def test_a_whiteout_of_nothing_is_not_seen(self, bench: RootfsBench, base: list[Tar]) -> None:
        """Of a name that no lower layer has, in a directory that none of them has."""
        layer = Tar().directory("d", mode=0o750, uid=7, mtime=1_600_000_000).whiteout("d/ghost").file("d/stays")
        layer = layer.whiteout("d/bare/ghost").whiteout("d/both").file("d/both", b"wins").whiteout("ghost").opaque("o")
        rootfs = await self._mount(bench, *base, layer, Tar().file("above"))
        assert sorted(path.name for path in rootfs.iterdir() if path.name not in {"above", "other"}) == ["d", "o"]
        assert sorted(path.name for path in (rootfs / "d").iterdir()) == ["bare", "both", "stays"]
        assert (rootfs / "d/both").read_bytes() == b"wins"
        assert [*(rootfs / "d/bare").iterdir(), *(rootfs / "o").iterdir()] == []
        shown = (rootfs / "d").stat()
        assert (stat.S_IMODE(shown.st_mode), shown.st_uid, shown.st_mtime) == (0o750, 7, 1_600_000_000)
        (rootfs / "d/ghost").mkdir()
        assert list((rootfs / "d/ghost").iterdir()) == []
        (rootfs / "d/bare").rmdir()
        shutil.rmtree(rootfs / "d")
        assert not (rootfs / "d").exists()
        await self._discard(bench)

    @pytest.mark.parametrize("base", [[], [Tar().file("other")], [Tar().directory("d").file("d/ghost")]])
    async def test_a_whiteout_as_a_device_is_not_seen(self, bench: RootfsBench, base: list[Tar]) -> None:
        """As overlayfs keeps it, in the archive itself, and a hard link to one."""
        layer = Tar().directory("d").device("d/ghost", "c", (0, 0)).file("d/stays").hardlink("far/ghost", "d/ghost")
        rootfs = await self._mount(bench, *base, layer.file("far/stays").whiteout("gone").hardlink("far/two", "gone"))
        assert [path.name for name in ("d", "far") for path in (rootfs / name).iterdir()] == ["stays", "stays"]
        shutil.rmtree(rootfs / "d")
        shutil.rmtree(rootfs / "far")
        await self._discard(bench)

    async def test_what_lies_above_a_whiteout_of_nothing_stays_as_it_is(self, bench: RootfsBench) -> None:
        layer = Tar().directory("a", mode=0o2711, gid=6, mtime=1_600_000_000, xattrs={"user.a": b"1"})
        layer = layer.directory("a/b", mode=0o1777, uid=5, mtime=1_500_000_000).whiteout("a/b/c/ghost")
        above = Tar().directory("e", mode=0o2755, mtime=1_600_000_000).whiteout("e/ghost").file("e/f/x")
        described = Tar().directory("e/f", mode=0o700, mtime=1_400_000_000)
        layers = (Tar().directory("e"), described, layer, above)
        rootfs = await self._mount(bench, *layers)
        assert len(list(rootfs.rglob("*"))) == 6
        await bench.snapshots().unmount("a", bench.directory("a"), discard=False)
        rootfs = await self._mount(bench, *layers)  # so that nothing is told from a cache
        shown = [(rootfs / name).stat() for name in ("a", "a/b", "e", "e/f")]
        assert [stat.S_IMODE(status.st_mode) for status in shown] == [0o2711, 0o1777, 0o2755, 0o700]
        assert [int(status.st_mtime) // 100_000_000 for status in shown] == [16, 15, 16, 14]
        assert [(status.st_uid, status.st_gid) for status in shown] == [(0, 6), (5, 0), (0, 0), (0, 0)]
        assert os.getxattr(rootfs / "a", "user.a") == b"1"
        await self._discard(bench)

    async def test_metadata_is_kept(self, bench: RootfsBench) -> None:
        layer = Tar().file("setuid", mode=0o4755, uid=BIG, gid=BIG + 1, mtime=12345)
        layer = layer.file("capable", mode=0o755, xattrs={"security.capability": CAPABLE}).file("one", b"shared")
        layer = layer.hardlink("two", "one").device("null", "c", (1, 3), mode=0o666).fifo("pipe")
        layer = layer.directory("sticky", mode=0o1777, gid=50, mtime=54321).file("sticky/x").symlink("link", "../away")
        rootfs = await self._mount(bench, layer)
        setuid = (rootfs / "setuid").stat()
        assert (stat.S_IMODE(setuid.st_mode), setuid.st_uid, setuid.st_gid) == (0o4755, BIG, BIG + 1)
        assert setuid.st_mtime == 12345
        assert os.getxattr(rootfs / "capable", "security.capability") == CAPABLE
        assert (rootfs / "one").stat().st_ino == (rootfs / "two").stat().st_ino
        assert (rootfs / "null").stat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISFIFO((rootfs / "pipe").stat().st_mode)
        sticky = (rootfs / "sticky").stat()
        assert (stat.S_IMODE(sticky.st_mode), sticky.st_gid, sticky.st_mtime) == (0o1777, 50, 54321)
        assert (rootfs / "link").readlink() == Path("../away")
        assert stat.S_IMODE(rootfs.stat().st_mode) == 0o755
        await self._discard(bench)

    async def test_a_directory_without_an_entry_looks_as_below(self, bench: RootfsBench) -> None:
        below = Tar().directory("tmp", mode=0o1777).directory("home", mode=0o700, uid=5, gid=6)
        below.directory("home/me", mode=0o711, uid=7, mtime=1_600_000_000, xattrs={"user.a": b"1"}).directory("gone")
        middle = Tar().file("tmp/a").file("home/me/x").directory("new", mode=0o750).whiteout("gone")
        above = Tar().file("tmp/b").file("home/me/y").file("new/z").directory("late", mode=0o700).file("gone/x")
        rootfs = await self._mount(bench, below, middle, above)

        def shown(name: str) -> tuple[int, int, int]:
            status = (rootfs / name).stat()
            return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid

        assert sorted(path.name for path in (rootfs / "home/me").iterdir()) == ["x", "y"]
        assert [shown(name) for name in ("tmp", "home", "home/me")] == [(0o1777, 0, 0), (0o700, 5, 6), (0o711, 7, 0)]
        assert (rootfs / "home/me").stat().st_mtime == 1_600_000_000
        assert os.getxattr(rootfs / "home/me", "user.a") == b"1"
        assert [shown(name)[0] for name in ("new", "gone", "late")] == [0o750, 0o755, 0o700]
        (rootfs / "tmp").chmod(0o755)
        await bench.snapshots().unmount("a", bench.directory("a"), discard=False)
        again = await self._mount(bench, below, middle, above)
        assert stat.S_IMODE((again / "tmp").stat().st_mode) == 0o755, "what the container did to it stays"
        await self._discard(bench)

    async def test_two_containers_do_not_see_each_other(self, bench: RootfsBench) -> None:
        one = await self._mount(bench, Tar().file("f", b"image"))
        two = await self._mount(bench, Tar().file("f", b"image"), key="b")
        (one / "f").write_bytes(b"one")
        (one / "mine").write_bytes(b"")
        assert ((two / "f").read_bytes(), (two / "mine").exists()) == (b"image", False)
        for key in ("a", "b"):
            await self._discard(bench, key)

    async def test_a_half_made_one_is_made_anew(self, bench: RootfsBench) -> None:
        """What a kill -9 leaves: directories in the making, nothing mounted."""
        for name in ("work", "rootfs"):
            (bench.directory("a") / name).mkdir()
        (bench.directory("a") / "work/half").mkdir()
        rootfs = await self._mount(bench, Tar().file("f", b"image"))
        assert [path.name for path in rootfs.iterdir()] == ["f"]
        await self._discard(bench)
