"""Image files of layers: made once for all containers, gone and made again, and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.image import erofs, erofs_views
from zlayer.image.contract import Image, ImageConfig, Mounted
from zlayer.image.erofs import FILE, ErofsSnapshots, lay_over, mount_packed, pack, packed_name
from zlayer.image.erofs_views import Views, show
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import FsContext, MountError, bind, unmount
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Exhausted
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.imagery_drivers import lacking

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts"),
    pytest.mark.skipif(bool(lacking("erofs")), reason=lacking("erofs") or "it is there"),
]
LAYER, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = Image("sample", "sha256:" + "1" * 64, ImageConfig(), (LAYER,), "linux/amd64", Bytes(0), Timestamp(0))


class Data:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = LayerStore(root / "layers", sync=False)
        self.snapshots = ErofsSnapshots(self.layers, root / "containers")
        made = self.layers.begin()
        (made / "f").write_bytes(b"image")
        with (made / "sparse").open("wb") as file:
            file.truncate(256 << 20)
        self.layers.commit(made, LAYER)

    @property
    def file(self) -> Path:
        return self.layers.path(packed_name(IMAGE.layers)) / FILE

    def home(self, key: str) -> Path:
        path = self.root / "containers" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def mount(self, key: str) -> Mounted:
        return await self.snapshots.mount(IMAGE, key, self.home(key))

    async def discard(self, key: str) -> None:
        await self.snapshots.unmount(key, self.home(key), discard=True)
        assert list(self.home(key).iterdir()) == []


@pytest.fixture
def data() -> Iterator[Data]:
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield Data(root)
    for pattern in ("containers/*/build/rootfs", "containers/*/lower", "containers/*/rootfs", "layers"):
        for mounted in root.glob(pattern):
            with suppress(OSError):
                unmount(mounted)
    remove_tree(root)


async def test_many_at_once_make_one_file(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def noted(tree: Path, file: Path) -> None:
        made.append(file)
        pack(tree, file)

    monkeypatch.setattr(erofs, "pack", noted)
    keys = [f"web-{number}" for number in range(12)]
    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(data.mount, key)
    assert len(made) == 1
    assert sum("erofs" in line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()) == 0
    assert sorted(await data.snapshots.list()) == sorted(keys)
    for key in keys:
        await data.discard(key)


async def test_all_containers_of_an_image_share_a_mount(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it the page cache: what one has read the others find there."""
    shown: list[int] = []

    def noted(image: int) -> int:
        shown.append(show(image))
        return shown[-1]

    monkeypatch.setattr(erofs_views, "show", noted)
    for key in ("a", "b"):
        assert ((await data.mount(key)).rootfs / "f").read_bytes() == b"image"
    assert len(shown) == 1
    await data.discard("a")
    os.fstat(shown[0])
    assert ((await data.mount("a")).rootfs / "f").exists()
    assert len(shown) == 1
    for key in ("a", "b"):
        await data.discard(key)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(shown[0])


async def test_a_kernel_that_takes_no_such_mount_gets_one_in_the_tree(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """overlayfs before Linux 6.15."""

    def refusing(lower: int, mounted: Mounted, work: Path) -> None:
        [number] = [line.split()[1] for line in fdinfo(lower) if line.startswith("mnt_id:")]
        if not any(line.split()[0] == number for line in Path("/proc/self/mountinfo").read_text().splitlines()):
            raise MountError(errno.EINVAL, "Invalid argument")
        lay_over(lower, mounted, work)

    monkeypatch.setattr(erofs, "lay_over", refusing)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for key in ("a", "b"):
        assert ((await data.mount(key)).rootfs / "f").read_bytes() == b"image"
        assert not (data.home(key) / "lower").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for key in ("a", "b"):
        await data.discard(key)


def fdinfo(descriptor: int) -> list[str]:
    return Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()


def test_a_view_is_closed_with_its_last_user(data: Data) -> None:
    one, other = data.root / "one", data.root / "other"
    tree = data.home("tree")
    for file in (one, other):
        pack(tree, file)
    views = Views()
    first, second = views.enter(Path("a"), one), views.enter(Path("b"), other)
    assert views.enter(Path("b"), other) == second != first
    assert views.enter(Path("a"), other) == second, "it has gone over"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)
    views.leave(Path("b"))
    os.fstat(second)
    for name in ("a", "b", "never"):
        views.leave(Path(name))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)
    with pytest.raises(FileNotFoundError):
        views.enter(Path("a"), data.root / "missing")


async def test_nobody_waits_for_the_packing_of_another_image(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    await data.mount("ready")
    made = data.layers.begin()
    (made / "slow").touch()
    data.layers.commit(made, OTHER)
    started, go_on = threading.Event(), threading.Event()

    def slowly(tree: Path, file: Path) -> None:
        started.set()
        assert go_on.wait(60)
        pack(tree, file)

    monkeypatch.setattr(erofs, "pack", slowly)
    slow = replace(IMAGE, layers=(OTHER,))
    keys = [f"slow-{number}" for number in range(8)]
    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(data.snapshots.mount, slow, key, data.home(key))
        try:
            assert await anyio.to_thread.run_sync(started.wait, 60)
            with anyio.fail_after(60):
                await data.mount("other")
                await data.discard("ready")
        finally:
            go_on.set()
    assert sorted(await data.snapshots.list()) == ["other", *keys]
    for key in ("other", *keys):
        await data.discard(key)


async def test_a_hole_stays_one(data: Data) -> None:
    rootfs = (await data.mount("a")).rootfs
    assert (rootfs / "sparse").stat().st_size == 256 << 20
    assert data.file.stat().st_size < 16 << 20
    await data.discard("a")


async def test_a_file_that_is_collected_serves_who_has_it_and_is_made_again(data: Data) -> None:
    first = await data.mount("a")
    data.layers.remove(packed_name(IMAGE.layers))
    assert (first.rootfs / "f").read_bytes() == b"image"
    second = await data.mount("b")
    assert (second.rootfs / "f").read_bytes() == b"image"
    assert data.file.exists()
    for key in ("a", "b"):
        await data.discard(key)


async def test_what_a_kill_leaves_is_taken_down(data: Data) -> None:
    """In the middle of packing, or between the two mounts."""
    (data.root / "precious").mkdir()
    (data.root / "precious/file").touch()
    for key in ("a", "b"):
        for name in ("build/rootfs", "lower"):
            (data.home(key) / name).mkdir(parents=True)
            bind(data.root / "precious", data.home(key) / name)
    assert ((await data.mount("a")).rootfs / "f").read_bytes() == b"image"
    await data.discard("a")
    await data.discard("b")
    assert (data.root / "precious/file").exists()
    assert str(data.root) not in Path("/proc/self/mountinfo").read_text()


async def test_a_full_disk_is_told_and_nothing_stays(data: Data) -> None:
    small = data.root / "layers"
    with FsContext("tmpfs") as context:
        context.set_string("size", "300k")
        where = os.open(small, os.O_PATH)
        context.mount(where)
        os.close(where)
    made = data.layers.begin()
    (made / "f").write_bytes(os.urandom(200_000))
    data.layers.commit(made, LAYER)
    with pytest.raises(Exhausted) as caught:
        await data.mount("a")
    assert caught.value.hint
    assert [path.name for path in small.iterdir()] == ["a" * 64]
    await data.discard("a")


def test_tmp_may_be_another_file_system(data: Data) -> None:
    """`mkfs.erofs` gathers chunks there, and cannot copy them over."""
    with tempfile.TemporaryDirectory(prefix="zl", dir="/dev/shm") as name:
        room = Path(name)
        assert room.stat().st_dev != Path("/tmp").stat().st_dev
        (room / "a tree").mkdir()
        (room / "a tree/f").write_bytes(b"image" * 20_000)
        pack(room / "a tree", room / "file")
        assert sorted(path.name for path in room.iterdir()) == ["a tree", "file"]
        shutil.copy(room / "file", data.root / "file")
        with pytest.raises(MountError, match="tmpfs"), (room / "file").open("rb") as file:
            show(file.fileno())
        directory = data.home("a")
        for made in ("upper", "work", "rootfs"):
            (directory / made).mkdir()
        mounted = Mounted("a", directory / "rootfs", directory / "upper")
        mount_packed(data.root / "file", directory / "lower", mounted, directory / "work")
        assert (mounted.rootfs / "f").read_bytes() == b"image" * 20_000
        unmount(mounted.rootfs)


def test_what_is_no_image_file_is_refused(data: Data) -> None:
    directory = data.home("a")
    (directory / "no-image").write_bytes(bytes(8192))
    for name in ("upper", "work", "rootfs"):
        (directory / name).mkdir()
    mounted = Mounted("a", directory / "rootfs", directory / "upper")
    with pytest.raises(MountError):
        mount_packed(directory / "no-image", directory / "lower", mounted, directory / "work")
    assert not (directory / "lower").exists()
