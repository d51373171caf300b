"""What is kept of images is looked at and mended, over a real registry and a real disk."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Fault, Image, Progress, Verified, Want
from zlayer.image.layers import SEAL
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.image.upkeep import IN_USE
from zlayer.image.verify import verify
from zlayer.image.verify_order import Kept, VerifyOrder
from zlayer.model.errors import NotFound
from zlayer.model.units import Bytes
from zlayer.testing.imagery import OciImage, image, index, layer
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
KILLED = """
import sys, anyio
from pathlib import Path
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
async def main():
    images = LocalImages(Path(sys.argv[1]), RegistrySettings(attempts=1))
    print("begun", flush=True)
    await images.upkeep.verify([], repair=True)
anyio.run(main)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> LocalImages:
    return LocalImages(tmp_path / "data", RegistrySettings(attempts=1))


def made(name: str, *, size: int = 300_000) -> OciImage:
    return image([*busybox_image().layers, layer(Tar().file(name, os.urandom(size)))], {"Cmd": [name]})


def blob(root: Path, digest: str) -> Path:
    return root / "data" / "blobs" / digest.replace(":", "/")


def flip(path: Path, at: int = 100) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def told(found: Verified) -> set[tuple[str, str, str]]:
    return {(one.kind, one.name, one.state) for one in found.faults}


async def test_all_that_is_whole_is_counted(registry: Registry, images: LocalImages, tmp_path: Path) -> None:
    one, two = made("one"), made("two")
    await images.pull(push(registry.target, "one", "1", one))
    await images.pull(push(registry.target, "two", "1", index([two])))
    heard: list[Progress] = []
    found = await images.upkeep.verify([], on_progress=heard.append)
    content = {each.digest for made in (one, two) for each in made.blobs()} | {one.digest, two.digest}
    assert found.faults == ()
    assert (found.images, found.layers, found.blobs) == (2, 3, len(content) + 1)
    assert found.size == sum(path.stat().st_size for path in (tmp_path / "data" / "blobs" / "sha256").iterdir())
    assert {each.digest for each in heard} >= content
    assert (await images.upkeep.verify([f"{registry.address}/one:1"])).images == 1
    with pytest.raises(NotFound):
        await images.upkeep.verify(["absent:1"])


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("what", ["packed", "config", "manifest", "index"])
async def test_a_bad_blob_is_told_and_mended(
    registry: Registry, images: LocalImages, tmp_path: Path, harm: str, what: str
) -> None:
    one = made("one")
    both = index([one])
    pulled = await images.pull(push(registry.target, "one", "1", both))
    digest = {"packed": one.layers[-1].blob.digest, "config": one.config.digest, "manifest": one.digest,
              "index": both.digest}[what]  # fmt: skip
    path = blob(tmp_path, digest)
    if harm == "flip":
        flip(path)
    elif harm == "truncate":
        os.truncate(path, 50)
    else:
        path.unlink()
    found = await images.upkeep.verify([])
    if (what, harm) == ("packed", "delete"):
        [fault] = found.faults
        assert (fault.kind, fault.bad) == ("packed", False), "it may have been given back"
        return
    assert told(found) == {("blob", digest, "found")}
    assert [fault.images for fault in found.faults] == [(pulled.reference,)]
    assert found.faults[0].bad
    assert told(await images.upkeep.verify([])) == told(found), "looking changes nothing"
    mended = await images.upkeep.verify([], repair=True)
    assert told(mended) == {("blob", digest, "repaired")}
    assert not any(fault.bad for fault in mended.faults)
    assert (await images.upkeep.verify([])).faults == ()


async def test_a_damaged_layer_is_unpacked_again_unless_it_is_in_use(
    registry: Registry, images: LocalImages, tmp_path: Path
) -> None:
    pulled = await images.pull(push(registry.target, "one", "1", made("one")))
    tree = tmp_path / "data" / "layers" / pulled.layers[-1].partition(":")[2]
    os.truncate(tree / SEAL, 10)
    (tree / "diff" / "one").write_bytes(b"altered")
    found = await images.upkeep.verify([pulled.reference])
    assert told(found) == {("layer", pulled.layers[-1], "found")}
    kept = await images.upkeep.verify([], repair=True, in_use=lambda: [pulled.digest])
    [fault] = kept.faults
    assert (fault.state, fault.note, fault.bad) == ("stayed", IN_USE, True)
    assert (tree / "diff" / "one").read_bytes() == b"altered"
    mended = await images.upkeep.verify([], repair=True)
    assert told(mended) == {("layer", pulled.layers[-1], "repaired")}
    assert (tree / "diff" / "one").stat().st_size == 300_000
    assert (await images.upkeep.verify([])).faults == ()


async def test_a_layer_whose_packed_twin_is_away_is_fetched_before_it_goes(
    registry: Registry, images: LocalImages, tmp_path: Path
) -> None:
    pulled = await images.pull(push(registry.target, "one", "1", made("one")))
    await images.stock.reclaim([pulled.digest], Want(bytes=Bytes(1 << 60)))
    assert {one.kind for one in (await images.upkeep.verify([])).faults} == {"packed"}
    (images._stores.layers.path(pulled.layers[-1]) / "one").unlink()
    registry.__exit__(None, None, None)
    stayed = await images.upkeep.verify([], repair=True)
    faults = [one for one in stayed.faults if one.kind == "layer"]
    assert [(one.state, "cannot be reached" in one.note) for one in faults] == [("stayed", True)]
    assert images._stores.layers.has(pulled.layers[-1]), "a damaged tree is better than none"


@pytest.mark.parametrize("length", [0, 60, -10])
async def test_a_damaged_record_is_written_again_or_its_image_pulled(
    registry: Registry, images: LocalImages, tmp_path: Path, length: int
) -> None:
    pulled = await images.pull(push(registry.target, "one", "1", made("one")))
    [record] = (tmp_path / "data" / "images").glob("*.json")
    whole = record.read_bytes()
    os.truncate(record, length if length >= 0 else len(whole) + length)
    assert told(await images.upkeep.verify([])) == {("record", record.name, "found")}
    assert told(await images.upkeep.verify([], repair=True)) == {("record", record.name, "repaired")}
    assert record.read_bytes() == whole
    os.truncate(record, length if length >= 0 else len(whole) + length)
    later = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
    assert await later.list() == []
    [fault] = (await later.upkeep.verify([], repair=True)).faults
    assert fault.state == "repaired"
    back = await later.list()
    if length < 0:
        assert (back[0].reference, back[0].digest) == (pulled.reference, pulled.digest)
    else:
        assert (back, record.exists(), "dropped" in fault.note) == ([], False, True)


async def test_content_of_no_image_goes_when_it_is_bad(images: LocalImages, tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    images._stores.blobs.path(digest).parent.mkdir(parents=True)
    images._stores.blobs.path(digest).write_bytes(b"x")
    assert [one.images for one in (await images.upkeep.verify([])).faults] == [()]
    assert told(await images.upkeep.verify([], repair=True)) == {("blob", digest, "repaired")}
    assert not images._stores.blobs.has(digest)


async def test_an_imported_image_says_why_it_stayed_bad(images: LocalImages, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(Tar().file("one", b"1").finish())
    with (tmp_path / "x.tar").open("rb") as file:
        [back] = await images.import_archive(file.fileno(), name="127.0.0.1:1/mine:1", rootfs=True)
    images._stores.blobs.path(back.digest).unlink()
    [fault] = (await images.upkeep.verify([], repair=True)).faults
    assert (fault.state, fault.bad) == ("stayed", True)
    assert "127.0.0.1:1" in fault.note


async def test_a_repair_that_is_killed_anywhere_is_done_again(
    registry: Registry, images: LocalImages, tmp_path: Path
) -> None:
    one = made("one", size=20_000_000)
    pulled = await images.pull(push(registry.target, "one", "1", one))
    for delay in (0.0, 0.2, 0.5, 0.8, 1.2):
        _harm(tmp_path, one, pulled, images)
        process = await anyio.open_process(
            [sys.executable, "-c", KILLED, str(tmp_path / "data")], stderr=None, start_new_session=True
        )
        async with process:
            assert process.stdout is not None
            await process.stdout.receive()
            await anyio.sleep(delay)  # the moment of death is what the test is about
            with suppress(ProcessLookupError):  # it was done sooner
                process.kill()
        later = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
        await later.upkeep.verify([], repair=True)
        assert (await later.upkeep.verify([])).faults == ()
        assert (await later.pull(pulled.reference, policy="never")).layers == pulled.layers


def _harm(root: Path, one: OciImage, pulled: Image, images: LocalImages) -> None:
    flip(blob(root, one.layers[-1].blob.digest), 5000)
    blob(root, one.config.digest).unlink()
    (images._stores.layers.path(pulled.layers[-1]) / "one").unlink()


def test_the_worker_tells_an_image_whose_record_says_something_else(tmp_path: Path) -> None:
    one = made("one")
    store = tmp_path / "blobs" / "sha256"
    store.mkdir(parents=True)
    for each in (one.manifest, one.config, *(made.blob for made in one.layers)):
        (store / each.digest.partition(":")[2]).write_bytes(each.read())
    blobs = (one.digest, one.config.digest, *(made.blob.digest for made in one.layers))
    kept = Kept("x:1", one.digest, (one.layers[0].diff_id,), blobs)
    order = VerifyOrder.read(json.loads(json.dumps(VerifyOrder(tmp_path, (kept,), False).document())))
    faults: tuple[Fault, ...] = verify(order, lambda *_: None).faults
    assert {(fault.kind, fault.name) for fault in faults} == {
        ("image", one.digest), ("layer", one.layers[0].diff_id),
    }  # fmt: skip
