"""What the shared suite cannot see: the kernel's tables, its escapes, and the errors told."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.contract import Image, ImageConfig
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import unmount
from zlayer.image.snapshots import OverlaySnapshots, is_mount_point, unescape
from zlayer.model.errors import NotFound, Unsupported
from zlayer.model.units import Bytes, Timestamp

pytestmark = [pytest.mark.root, pytest.mark.anyio]

IMAGE = Image("sample", "sha256:" + "1" * 64, ImageConfig(), (), "linux/amd64", Bytes(0), Timestamp(0))


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[LayerStore]:
    yield LayerStore(tmp_path / "layers", sync=False)
    for rootfs in tmp_path.glob("containers/*/rootfs"):
        unmount(rootfs)


def put(layers: LayerStore, number: int, *, opaque: bool = False) -> str:
    temporary = layers.begin()
    (temporary / f"f{number}").write_bytes(b"x")
    if opaque:
        os.setxattr(temporary, "trusted.overlay.opaque", b"y")
    diff_id = f"sha256:{number:064x}"
    layers.commit(temporary, diff_id)
    return diff_id


async def test_an_opaque_root_hides_the_layers_below(layers: LayerStore, tmp_path: Path) -> None:
    image = replace(IMAGE, layers=(put(layers, 1), put(layers, 2, opaque=True), put(layers, 3)))
    snapshots = OverlaySnapshots(layers, tmp_path / "containers")
    mounted = await snapshots.mount(image, "a", tmp_path / "containers/a")
    assert sorted(path.name for path in mounted.rootfs.iterdir()) == ["f2", "f3"]
    await snapshots.unmount("a", tmp_path / "containers/a", discard=True)


async def test_a_new_daemon_finds_and_takes_over_what_is_mounted(layers: LayerStore, tmp_path: Path) -> None:
    image, directory = replace(IMAGE, layers=(put(layers, 1),)), tmp_path / "containers/a"
    first = await OverlaySnapshots(layers, tmp_path / "containers").mount(image, "a", directory)
    (first.rootfs / "mark").write_bytes(b"x")
    second = OverlaySnapshots(layers, tmp_path / "containers")
    assert await second.list() == ["a"]
    assert await second.mount(image, "a", directory) == first
    assert (first.rootfs / "mark").exists()
    await second.unmount("a", directory, discard=True)
    assert not is_mount_point(first.rootfs)


async def test_another_data_directory_is_not_listed(layers: LayerStore, tmp_path: Path) -> None:
    image = replace(IMAGE, layers=(put(layers, 1),))
    snapshots = OverlaySnapshots(layers, tmp_path / "containers")
    await snapshots.mount(image, "a", tmp_path / "containers/a")
    for other in ("container", "containers/a", "other"):
        assert await OverlaySnapshots(layers, tmp_path / other).list() == []
    await snapshots.unmount("a", tmp_path / "containers/a", discard=True)


async def test_more_layers_than_overlayfs_stacks_is_unsupported(layers: LayerStore, tmp_path: Path) -> None:
    image = replace(IMAGE, layers=(put(layers, 1),) * 501)
    with pytest.raises(Unsupported, match="501 layers"):
        await OverlaySnapshots(layers, tmp_path / "c").mount(image, "a", tmp_path / "c/a")


async def test_a_layer_gone_since_the_last_mount_is_not_found(layers: LayerStore, tmp_path: Path) -> None:
    image = replace(IMAGE, layers=(put(layers, 1),))
    snapshots, directory = OverlaySnapshots(layers, tmp_path / "containers"), tmp_path / "containers/a"
    await snapshots.mount(image, "a", directory)
    await snapshots.unmount("a", directory, discard=True)
    layers.remove(image.layers[0])
    with pytest.raises(NotFound, match=image.layers[0]):
        await snapshots.mount(image, "a", directory)


async def test_the_root_is_open_to_all_whatever_the_umask(layers: LayerStore, tmp_path: Path) -> None:
    image = replace(IMAGE, layers=(put(layers, 1),))
    before = os.umask(0o077)
    try:
        snapshots = OverlaySnapshots(layers, tmp_path / "containers")
        mounted = await snapshots.mount(image, "a", tmp_path / "containers/a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(mounted.rootfs.stat().st_mode) == 0o755
    await snapshots.unmount("a", tmp_path / "containers/a", discard=True)


async def test_a_mount_in_use_goes_at_once(layers: LayerStore, tmp_path: Path) -> None:
    snapshots, directory = OverlaySnapshots(layers, tmp_path / "containers"), tmp_path / "containers/a"
    mounted = await snapshots.mount(replace(IMAGE, layers=(put(layers, 1),)), "a", directory)
    with (mounted.rootfs / "open").open("wb") as file:
        await snapshots.unmount("a", directory, discard=True)
        file.write(b"still there")
    assert await snapshots.list() == []
    assert list(directory.iterdir()) == []


@given(st.binary(max_size=60))
def test_mount_table_escapes_are_undone(name: bytes) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in name)
    assert unescape(escaped) == name


def test_a_missing_path_is_no_mount_point(tmp_path: Path) -> None:
    assert not is_mount_point(tmp_path / "never")
    assert not is_mount_point(tmp_path)
    assert is_mount_point(Path("/proc"))
