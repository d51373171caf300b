"""The suite of real layers over every root file system driver this machine can run."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from zlayer.image.contract import Image, ImageConfig, Snapshots
from zlayer.image.extract import extract_layer
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import unmount
from zlayer.image.rootfs import DRIVERS, Choice, choose
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Unavailable
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.contracts.rootfs import RootfsContract
from zlayer.testing.imagery_drivers import lacking
from zlayer.testing.imagery_tar import Tar

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts"),
]


class Bench:
    def __init__(self, root: Path, driver: str) -> None:
        self._containers = root / "containers"
        self._layers = LayerStore(root / "layers", sync=False)
        self._snapshots = Choice(driver, "").make(self._layers, self._containers)

    def snapshots(self) -> Snapshots:
        return self._snapshots

    def extracted(self, layers: Sequence[Tar]) -> Image:
        made = tuple(self._extract(tar.finish()) for tar in layers)
        return Image("sample", "sha256:" + "1" * 64, ImageConfig(), made, "linux/amd64", Bytes(0), Timestamp(0))

    def directory(self, key: str) -> Path:
        path = self._containers / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _extract(self, raw: bytes) -> str:
        temporary = self._layers.begin()
        unpacked = extract_layer(io.BytesIO(raw), temporary)
        diff_id = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self._layers.commit(temporary, diff_id, unpacked.marks)
        return diff_id


@pytest.fixture
def make() -> Iterator[Callable[[str], Bench]]:
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield lambda driver: Bench(root, driver)
    for mounted in root.glob("containers/*/rootfs"):
        with suppress(OSError):
            unmount(mounted)
    remove_tree(root)


class TestOverlay(RootfsContract):
    @pytest.fixture
    def bench(self, make: Callable[[str], Bench]) -> Bench:
        return make("overlay")


class TestCopy(RootfsContract):
    @pytest.fixture
    def bench(self, make: Callable[[str], Bench]) -> Bench:
        return make("copy")


@pytest.mark.skipif(bool(lacking("fuse-overlayfs")), reason=lacking("fuse-overlayfs") or "it is there")
class TestFuseOverlay(RootfsContract):
    @pytest.fixture
    def bench(self, make: Callable[[str], Bench]) -> Bench:
        return make("fuse-overlayfs")


@pytest.mark.skipif(bool(lacking("erofs")), reason=lacking("erofs") or "it is there")
class TestErofs(RootfsContract):
    @pytest.fixture
    def bench(self, make: Callable[[str], Bench]) -> Bench:
        return make("erofs")


@pytest.mark.parametrize("wanted", [driver for driver in DRIVERS if not lacking(driver)])
def test_the_trial_leaves_nothing(tmp_path: Path, wanted: str) -> None:
    choice = choose(tmp_path, wanted)
    assert wanted in ("auto", choice.driver)
    assert choice.reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(bool(lacking("erofs")), reason=lacking("erofs") or "it is there")
@pytest.mark.parametrize("lack", ["program", "disk"])
def test_what_erofs_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: str) -> None:
    if lack == "program":
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Unavailable, match=r"mkfs\.erofs is not installed"):
            choose(tmp_path, "erofs")
        return
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        with pytest.raises(Unavailable, match=r"mounts no files here.*no tmpfs"):
            choose(tmp_path, "erofs")
        assert list(tmp_path.iterdir()) == []
    finally:
        unmount(tmp_path)


@pytest.mark.parametrize("wanted", ["auto", "overlay"])
def test_a_full_disk_says_nothing_about_drivers(tmp_path: Path, wanted: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "none", str(tmp_path)], check=True)
    try:
        choice = choose(tmp_path, wanted)
        assert (choice.driver, list(tmp_path.iterdir())) == ("overlay", [])
        assert "full" in choice.reason
    finally:
        unmount(tmp_path)
