"""Space of images on a real disk: what it is, what goes, and that pushes and exports fetch again what went."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.daemon.housekeeping import Housekeeper, shortage
from zlayer.image.contract import Want
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.image.stock import tree_size
from zlayer.model.errors import NotFound
from zlayer.model.units import Bytes
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
ALL = Want(bytes=Bytes(1 << 60))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> LocalImages:
    return LocalImages(tmp_path / "data", RegistrySettings(attempts=1))


def made(name: str) -> OciImage:
    return image([*busybox_image().layers, layer(Tar().file(name, os.urandom(300_000)))], {"Cmd": [name]})


def taken(tmp_path: Path) -> int:
    return tree_size(tmp_path / "data" / "layers") + tree_size(tmp_path / "data" / "blobs")


async def test_the_figures_are_those_of_the_disk(registry: Registry, images: LocalImages, tmp_path: Path) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    await images.pull(push(registry.target, "two", "1", made("two")))
    usage = await images.stock.usage([one.digest])
    assert [image.in_use for image in usage.images] == [True, False]
    assert all(image.shared > 500_000 and image.alone > 600_000 for image in usage.images)
    assert 0.8 < (usage.layers + usage.blobs) / taken(tmp_path) <= 1.05
    assert usage.reclaimable == usage.images[1].alone
    totals = await images.stock.totals()
    assert (totals.images, totals.layers, totals.blobs, totals.reclaimed) == (2, usage.layers, usage.blobs, 0)


async def test_what_runs_stays_and_the_rest_goes(registry: Registry, images: LocalImages, tmp_path: Path) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    two = await images.pull(push(registry.target, "two", "1", made("two")))
    would = await images.stock.reclaim([one.digest], ALL, dry_run=True)
    assert len(await images.list()) == 2
    before = taken(tmp_path)
    done = await images.stock.reclaim([one.digest], ALL)
    assert done == would
    totals = await images.stock.totals()
    assert (totals.images, totals.reclaimed) == (1, sum(piece.size for piece in done))
    assert [image.reference for image in await images.list()] == [one.reference]
    assert before - taken(tmp_path) >= 0.9 * sum(piece.size for piece in done)
    assert await images.pull(one.reference, policy="never") == one
    again = await images.pull(two.reference)
    assert again.digest == two.digest


async def test_packed_layers_come_back_when_they_are_needed(
    registry: Registry, images: LocalImages, tmp_path: Path
) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    await images.tag(one.reference, "mine:1")
    await images.stock.reclaim([one.digest], ALL)
    assert len(list((tmp_path / "data" / "blobs" / "sha256").iterdir())) == 2, "manifest and config"
    pushed = await images.push("mine:1", f"{registry.address}/elsewhere:1")
    assert pushed.digest == one.digest
    await images.stock.reclaim([one.digest], ALL)
    with (tmp_path / "x.tar").open("wb") as file:
        await images.export(["mine:1"], file.fileno())
    with (tmp_path / "x.tar").open("rb") as file:
        [back] = await LocalImages(tmp_path / "other").import_archive(file.fileno())
    assert back.digest == one.digest


async def test_what_a_dead_daemon_left_is_found(registry: Registry, images: LocalImages, tmp_path: Path) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    for record in (tmp_path / "data" / "images").glob("*.json"):
        record.unlink()
    later = LocalImages(tmp_path / "data")
    pieces = await later.stock.reclaim([], Want())
    assert {piece.kind for piece in pieces} == {"orphan"}
    assert {piece.name for piece in pieces} >= set(one.layers)
    assert list((tmp_path / "data" / "layers").glob("[!.]*")) == []


async def test_half_a_download_is_counted_and_given_back(images: LocalImages, tmp_path: Path) -> None:
    partial = tmp_path / "data" / "blobs" / "partial" / ("5" * 64)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(300_000))
    usage = await images.stock.usage([])
    assert usage.blobs == usage.reclaimable == partial.stat().st_blocks * 512
    [piece] = await images.stock.reclaim([], Want())
    assert (piece.kind, piece.name, piece.size) == ("orphan", f"sha256:{'5' * 64}", usage.blobs)
    assert not partial.exists()


async def test_how_an_image_came_to_be(registry: Registry, images: LocalImages) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    history = await images.stock.history(one.reference)
    assert sum(origin.size for origin in history) <= one.size
    with pytest.raises(NotFound):
        await images.stock.history("absent:1")


def test_when_the_disk_is_short() -> None:
    gib = 1 << 30
    assert shortage(6 * gib, 100 * gib) == 0
    assert shortage(4 * gib, 100 * gib) == 4 * gib
    assert shortage(11 * gib, 10_000 * gib) == 0
    assert 0 < shortage(9 * gib, 10_000 * gib) < 10 * gib


async def test_a_short_disk_is_relieved_and_told(registry: Registry, images: LocalImages) -> None:
    one = await images.pull(push(registry.target, "one", "1", made("one")))
    told: list[str] = []
    free = [100]

    async def pinned() -> frozenset[str]:
        return frozenset({one.digest})

    keeper = Housekeeper(images.stock, lambda: (free[0], 1 << 40), pinned, lambda kind, _message: told.append(kind))
    await keeper.look()
    assert told == ["images.reclaimed", "disk.short"]
    await keeper.look()
    assert told == ["images.reclaimed", "disk.short"], "told once"
    free[0] = 1 << 39
    await keeper.look()
    assert [image.digest for image in await images.list()] == [one.digest]
