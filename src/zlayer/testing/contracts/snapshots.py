"""What every snapshots driver must do. Subclass `SnapshotsContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import anyio

from zlayer.image.contract import Image, Snapshots
from zlayer.model.errors import NotFound

LAYERS: tuple[Mapping[str, bytes], ...] = (
    {"etc/motd": b"base", "etc/kept": b"base"},
    {"etc/motd": b"middle", "srv/a": b"middle"},
    {"etc/motd": b"top"},
)
"""The files of the bench's image, base first."""


class SnapshotsBench(Protocol):
    """A driver with a data directory of its own."""

    def snapshots(self) -> Snapshots:
        """The driver, the same each time."""
        ...

    def image(self, layers: int = len(LAYERS)) -> Image:
        """An image of the first `layers` of `LAYERS`, present in the store."""
        ...

    def directory(self, key: str) -> Path:
        """A container's directory, its parents there."""
        ...


class SnapshotsContract:
    async def test_the_last_layer_wins(self, bench: SnapshotsBench) -> None:
        mounted = await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))
        assert mounted.key == "a"
        assert (mounted.rootfs / "etc/motd").read_bytes() == b"top"
        assert (mounted.rootfs / "etc/kept").read_bytes() == b"base"
        assert (mounted.rootfs / "srv/a").read_bytes() == b"middle"
        await bench.snapshots().unmount("a", bench.directory("a"), discard=True)

    async def test_no_layers_and_one_layer(self, bench: SnapshotsBench) -> None:
        for count in (0, 1):
            key = f"c{count}"
            mounted = await bench.snapshots().mount(bench.image(count), key, bench.directory(key))
            names = sorted(path.name for path in mounted.rootfs.iterdir())
            assert names == ([] if count == 0 else ["etc"])
            (mounted.rootfs / "new").write_bytes(b"x")
            await bench.snapshots().unmount(key, bench.directory(key), discard=True)

    async def test_mounted_already_is_the_same(self, bench: SnapshotsBench) -> None:
        first = await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))
        (first.rootfs / "mark").write_bytes(b"x")
        assert await bench.snapshots().mount(bench.image(), "a", bench.directory("a")) == first
        assert (first.rootfs / "mark").exists()
        await bench.snapshots().unmount("a", bench.directory("a"), discard=True)
        assert not (first.rootfs / "mark").exists()

    async def test_mounting_at_once_is_once(self, bench: SnapshotsBench) -> None:
        async def mount() -> None:
            await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(mount)
        assert list(await bench.snapshots().list()) == ["a"]
        await bench.snapshots().unmount("a", bench.directory("a"), discard=False)
        assert not (bench.directory("a") / "rootfs" / "etc").exists()
        await bench.snapshots().unmount("a", bench.directory("a"), discard=True)

    async def test_what_is_written_is_in_upper_only(self, bench: SnapshotsBench) -> None:
        one = await bench.snapshots().mount(bench.image(), "one", bench.directory("one"))
        two = await bench.snapshots().mount(bench.image(), "two", bench.directory("two"))
        (one.rootfs / "etc/motd").write_bytes(b"mine")
        (one.rootfs / "etc/kept").unlink()
        assert (one.upper / "etc/motd").read_bytes() == b"mine"
        assert (two.rootfs / "etc/motd").read_bytes() == b"top"
        assert (two.rootfs / "etc/kept").exists()
        for key in ("one", "two"):
            await bench.snapshots().unmount(key, bench.directory(key), discard=True)

    async def test_a_left_upper_is_used_again(self, bench: SnapshotsBench) -> None:
        mounted = await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))
        (mounted.rootfs / "srv/a").write_bytes(b"changed")
        (mounted.rootfs / "etc/kept").unlink()
        await bench.snapshots().unmount("a", bench.directory("a"), discard=False)
        assert not (mounted.rootfs / "srv").exists()
        again = await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))
        assert (again.rootfs / "srv/a").read_bytes() == b"changed"
        assert not (again.rootfs / "etc/kept").exists()
        await bench.snapshots().unmount("a", bench.directory("a"), discard=True)

    async def test_discard_forgets_everything(self, bench: SnapshotsBench) -> None:
        directory = bench.directory("a")
        mounted = await bench.snapshots().mount(bench.image(), "a", directory)
        (mounted.rootfs / "new").write_bytes(b"x")
        await bench.snapshots().unmount("a", directory, discard=True)
        assert list(directory.iterdir()) == []
        again = await bench.snapshots().mount(bench.image(), "a", directory)
        assert not (again.rootfs / "new").exists()
        await bench.snapshots().unmount("a", directory, discard=True)

    async def test_discard_leaves_what_others_keep_there(self, bench: SnapshotsBench) -> None:
        directory = bench.directory("a")
        await bench.snapshots().mount(bench.image(), "a", directory)
        (directory / "journal.json").write_bytes(b"{}")
        await bench.snapshots().unmount("a", directory, discard=True)
        assert [path.name for path in directory.iterdir()] == ["journal.json"]

    async def test_unmount_is_idempotent(self, bench: SnapshotsBench) -> None:
        for discard in (False, True, True):
            await bench.snapshots().unmount("never", bench.directory("never"), discard=discard)
        await bench.snapshots().mount(bench.image(), "a", bench.directory("a"))
        for discard in (False, False, True, True, False):
            await bench.snapshots().unmount("a", bench.directory("a"), discard=discard)
        assert list(await bench.snapshots().list()) == []

    async def test_list_tells_what_is_mounted(self, bench: SnapshotsBench) -> None:
        keys = ["blog-web-1-abc", "blog-web-2-def", "odd \\ key\twith tab"]
        for key in keys:
            await bench.snapshots().mount(bench.image(), key, bench.directory(key))
        assert sorted(await bench.snapshots().list()) == sorted(keys)
        await bench.snapshots().unmount(keys[0], bench.directory(keys[0]), discard=False)
        assert sorted(await bench.snapshots().list()) == sorted(keys[1:])
        for key in keys:
            await bench.snapshots().unmount(key, bench.directory(key), discard=True)
        assert list(await bench.snapshots().list()) == []

    async def test_a_missing_layer_is_not_found(self, bench: SnapshotsBench) -> None:
        image = bench.image()
        broken = replace(image, layers=(*image.layers, "sha256:" + "0" * 64))
        refused: NotFound | None = None
        try:
            await bench.snapshots().mount(broken, "a", bench.directory("a"))
        except NotFound as error:
            refused = error
        assert refused is not None
        assert "0000" in refused.message
        assert refused.hint
        assert list(await bench.snapshots().list()) == []
        await bench.snapshots().unmount("a", bench.directory("a"), discard=True)
