"""The snapshots suite over the fake and, as root, over overlayfs, fuse-overlayfs, copies and erofs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from zlayer.image.contract import Image, ImageConfig, Snapshots
from zlayer.image.copied import CopySnapshots
from zlayer.image.erofs import ErofsSnapshots
from zlayer.image.fused import FuseOverlaySnapshots
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import unmount
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.image.trees import remove_tree
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.contracts.snapshots import LAYERS, SnapshotsContract
from zlayer.testing.fake_snapshots import FakeSnapshots
from zlayer.testing.imagery_drivers import lacking

pytestmark = pytest.mark.anyio

DIFF_IDS = tuple(f"sha256:{hashlib.sha256(repr(files).encode()).hexdigest()}" for files in LAYERS)


class Bench:
    """A driver over `LAYERS` in a data directory."""

    def __init__(self, snapshots: Snapshots, root: Path) -> None:
        self._snapshots = snapshots
        self._containers = root / "containers"

    def snapshots(self) -> Snapshots:
        return self._snapshots

    def image(self, layers: int = len(LAYERS)) -> Image:
        return Image(
            reference="registry.test/sample:1",
            digest="sha256:" + "1" * 64,
            config=ImageConfig(),
            layers=DIFF_IDS[:layers],
            platform="linux/amd64",
            size=Bytes(0),
            pulled_at=Timestamp(0),
        )

    def directory(self, key: str) -> Path:
        path = self._containers / key
        path.mkdir(parents=True, exist_ok=True)
        return path


def _filled(root: Path) -> LayerStore:
    layers = LayerStore(root / "layers", sync=False)
    for diff_id, files in zip(DIFF_IDS, LAYERS, strict=True):
        temporary = layers.begin()
        for name, data in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(data)
        layers.commit(temporary, diff_id)
    return layers


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield path
    for mounted in path.glob("containers/*/rootfs"):
        with suppress(OSError):
            unmount(mounted)
    remove_tree(path)


class TestFakeSnapshots(SnapshotsContract):
    @pytest.fixture
    def bench(self, root: Path) -> Bench:
        return Bench(FakeSnapshots(dict(zip(DIFF_IDS, LAYERS, strict=True))), root)


@pytest.mark.root
class TestOverlaySnapshots(SnapshotsContract):
    @pytest.fixture
    def bench(self, root: Path) -> Bench:
        layers = _filled(root)
        return Bench(OverlaySnapshots(layers, root / "containers"), root)


@pytest.mark.root
class TestCopySnapshots(SnapshotsContract):
    @pytest.fixture
    def bench(self, root: Path) -> Bench:
        return Bench(CopySnapshots(_filled(root), root / "containers", sync=False), root)


@pytest.mark.root
@pytest.mark.skipif(bool(lacking("fuse-overlayfs")), reason=lacking("fuse-overlayfs") or "it is there")
class TestFuseOverlaySnapshots(SnapshotsContract):
    @pytest.fixture
    def bench(self, root: Path) -> Bench:
        return Bench(FuseOverlaySnapshots(_filled(root), root / "containers"), root)


@pytest.mark.root
@pytest.mark.skipif(bool(lacking("erofs")), reason=lacking("erofs") or "it is there")
class TestErofsSnapshots(SnapshotsContract):
    @pytest.fixture
    def bench(self, root: Path) -> Bench:
        return Bench(ErofsSnapshots(_filled(root), root / "containers"), root)
