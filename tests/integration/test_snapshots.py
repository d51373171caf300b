"""Real layers, pulled from a real registry, extracted and merged by the kernel."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import zstandard

from zlayer.image.contract import Image, ImageConfig, Mounted
from zlayer.image.extract import extract_layer
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.mountapi import FsContext, unmount
from zlayer.image.settings import RegistrySettings
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Exhausted
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing import imagery_samples as samples
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts"),
]
needs_registry = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")
IMAGE = Image("sample", "sha256:" + "1" * 64, ImageConfig(), (), "linux/amd64", Bytes(0), Timestamp(0))


class Data:
    """A data directory with its layer store and snapshots."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = LayerStore(root / "layers", sync=False)
        self.snapshots = OverlaySnapshots(self.layers, root / "containers")

    async def mount(self, image: Image, key: str) -> Mounted:
        return await self.snapshots.mount(image, key, self.root / "containers" / key)

    async def discard(self, key: str) -> None:
        await self.snapshots.unmount(key, self.root / "containers" / key, discard=True)

    def extract(self, number: int, tar: Tar) -> str:
        temporary = self.layers.begin()
        extract_layer(io.BytesIO(tar.finish()), temporary)
        diff_id = f"sha256:{number:064x}"
        self.layers.commit(temporary, diff_id)
        return diff_id


@pytest.fixture
def data() -> Iterator[Data]:
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield Data(root)
    for rootfs in root.glob("containers/*/rootfs"):
        with suppress(OSError):
            unmount(rootfs)
    remove_tree(root)


@needs_registry
async def test_the_nasty_image_is_merged_as_its_layers_say(data: Data) -> None:
    with Registry(data.root) as registry:
        reference = push(registry.target, "nasty", "1", samples.nasty_image())
        image = await LocalImages(data.root, RegistrySettings()).pull(reference)
    rootfs = (await data.mount(image, "nasty")).rootfs
    names = {path.name for path in rootfs.iterdir()}
    assert not names & {"gone", "never-was", ".wh.gone", ".wh..wh..opq"}
    assert {path.name for path in (rootfs / "kept").iterdir()} == {"stays", "third"}
    assert {path.name for path in (rootfs / "opaque").iterdir()} == {"new"}
    assert (rootfs / "opaque").stat().st_uid == 7
    assert (rootfs / "turned").read_bytes() == b"a file now\n"
    assert {path.name for path in (rootfs / "becomes-directory").iterdir()} == {"x"}
    assert ((rootfs / "plain").read_bytes(), (rootfs / "link").readlink()) == (b"lower\n", Path("plain"))
    assert (rootfs / "kept/third").read_bytes() == b"shared\n"
    assert os.getxattr(rootfs / "capable", "security.capability") == samples.CAP_NET_BIND
    assert stat.S_IMODE((rootfs / "setuid").stat().st_mode) == 0o4755
    assert stat.S_IMODE(rootfs.stat().st_mode) == 0o755
    script = "echo from inside > /kept/stays && rm /plain && mkdir /gone && ls /gone /sticky | wc -l"
    said = await anyio.run_process(["chroot", str(rootfs), "/bin/sh", "-c", script])
    assert said.stdout.strip() == b"3"
    await data.discard("nasty")


async def test_an_extraction_is_what_gnu_tar_makes(data: Data) -> None:
    """A second opinion on everything but whiteouts."""
    if shutil.which("tar") is None:
        pytest.skip("GNU tar is not installed")
    raw = zstandard.ZstdDecompressor().decompress(samples.nasty_layers()[1].blob.read(), max_output_size=1 << 22)
    ours, theirs = data.root / "ours", data.root / "theirs"
    for target in (ours, theirs):
        target.mkdir()
    extract_layer(io.BytesIO(raw), ours)
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-", "-C", str(theirs)]
    await anyio.run_process(command, input=raw)

    def look(root: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in root.rglob("*"):
            status = path.lstat()
            whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
            if whiteout or path.name.startswith(".wh."):
                continue
            keys = sorted(os.listxattr(path, follow_symlinks=False))
            xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in keys}
            described = path.name not in ("kept", *samples.LONG_NAME.split("/")[:2])
            times = status.st_mtime_ns if described else 0
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_nlink, times)
            kept = {key: value for key, value in xattrs.items() if not key.startswith("trusted.overlay.")}
            found[str(path.relative_to(root))] = (*numbers, content, kept)
        return found

    assert look(ours) == look(theirs)


async def test_500_layers_in_one_mount(data: Data) -> None:
    layers = [
        data.extract(number, Tar().file(f"f{number}", b"x").file("top", str(number).encode())) for number in range(500)
    ]
    rootfs = (await data.mount(replace(IMAGE, layers=tuple(layers)), "many")).rootfs
    assert (rootfs / "top").read_bytes() == b"499"
    assert len(list(rootfs.iterdir())) == 501
    (rootfs / "f0").unlink()
    assert (data.layers.path(layers[0]) / "f0").exists()
    await data.discard("many")


async def test_a_hundred_containers_share_the_layers_and_leave_nothing(data: Data) -> None:
    image = replace(IMAGE, layers=(data.extract(1, Tar().file("shared", b"x" * 100_000)),))
    keys = [f"web-{number}" for number in range(100)]

    async def live(key: str) -> None:
        mounted = await data.mount(image, key)
        (mounted.rootfs / "mine").write_text(key)

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(live, key)
    assert await data.snapshots.list() == sorted(keys)
    assert (data.root / "containers/web-7/upper/mine").read_text() == "web-7"
    used = sum(path.stat().st_size for path in data.root.glob("containers/*/upper/*"))
    assert used == sum(map(len, keys)), "the layer's bytes are on disk once"
    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(data.discard, key)
    assert str(data.root) not in Path("/proc/self/mountinfo").read_text()
    assert list(data.root.glob("containers/*/*")) == []


async def test_a_full_disk_is_told_and_nothing_stays(data: Data) -> None:
    small = data.root / "small"
    small.mkdir()
    descriptor = os.open(small, os.O_PATH)
    with FsContext("tmpfs") as context:
        context.set_string("size", "1m")
        context.mount(descriptor)
    os.close(descriptor)
    try:
        store = LayerStore(small / "layers")
        temporary = store.begin()
        with pytest.raises(Exhausted, match="No space left") as caught:
            extract_layer(io.BytesIO(Tar().file("big", bytes(2 << 20)).finish()), temporary)
        assert caught.value.hint
        store.discard(temporary)
        assert list(store.root.iterdir()) == []
    finally:
        unmount(small)
