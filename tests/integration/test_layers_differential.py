"""Layers made at random, unpacked by us and by others: GNU tar one by one, skopeo and umoci in stacks. The same trees,
and the same whichever driver makes a root file system of a stack.

`ZLAYER_LAYERS` says how many layers each of the two gets at least (30 by default; 200 is the acceptance).
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Image, ImageConfig, Snapshots
from zlayer.image.extract import extract_layer
from zlayer.image.inflate import Inflated
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.rootfs import Choice
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.image.trees import remove_tree
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.imagery import Compression, compress, image, layer
from zlayer.testing.imagery_drivers import lacking
from zlayer.testing.netns import short_directory
from zlayer.testing.random_layers import FORMATS, Census, Format, Grown, census, differences
from zlayer.testing.registry_faulty import FaultyRegistry

LAYERS = int(os.environ.get("ZLAYER_LAYERS", "30"))
PER_STACK = 4
PACKINGS: tuple[Compression, ...] = ("gzip", "zstd", "none")
SPARSE = ("gnu", "0.0", "0.1", "1.0")
"""GNU tar's own form, and those of pax."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
]


@pytest.fixture
def room() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory
        for tree in directory.iterdir():
            remove_tree(tree)


def by_tar(raw: bytes, target: Path) -> None:
    """Told what an extractor of layers does anyway: links as they are, directories last, xattrs of every kind."""
    target.mkdir()
    ways = ("--delay-directory-restore", "--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*")
    done = subprocess.run(["tar", "-xpP", *ways, "-C", target, "-f-"], input=raw, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def by_us(raw: bytes, packing: Compression, target: Path) -> None:
    target.mkdir()
    extract_layer(Inflated(io.BytesIO(compress(raw, packing))), target)


@pytest.mark.parametrize("seed", range(LAYERS))
def test_one_layer_is_what_gnu_tar_makes_of_it(seed: int, room: Path) -> None:
    chance = random.Random(seed)
    form: Format = chance.choice(tuple(FORMATS))
    raw = Grown(seed).layer(form, whiteouts=False)
    by_us(raw, chance.choice(PACKINGS), room / "ours")
    by_tar(raw, room / "theirs")
    assert differences(census(room / "ours"), census(room / "theirs")) == [], (seed, form)


@pytest.mark.parametrize("form", SPARSE)
@pytest.mark.parametrize("seed", range(2))
def test_sparse_files_are_what_gnu_tar_makes_of_them(seed: int, form: str, room: Path) -> None:
    chance = random.Random(seed)
    tree = room / "tree"
    tree.mkdir()
    for number in range(6):
        with (tree / f"file{number}{'-long' * number * 8}").open("wb") as file:
            for _ in range(chance.choice((0, 1, 5, 40))):
                file.seek(chance.randrange(1 << 14) * 512 + chance.randrange(3))
                file.write(chance.randbytes(chance.randrange(1, 3000)))
            file.truncate(max(file.tell(), chance.choice((0, 1 << 23))))
    how = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    raw = subprocess.run(["tar", "-cS", *how, "-C", tree, "."], capture_output=True, check=True).stdout
    assert len(raw) < 4 << 20, "its holes are not stored"
    by_us(raw, "gzip", room / "ours")
    by_tar(raw, room / "theirs")
    assert differences(census(room / "ours"), census(room / "theirs")) == []
    assert census(room / "ours").keys() == census(tree).keys()
    blocks = [sum(path.stat().st_blocks for path in (room / who).iterdir()) for who in ("ours", "theirs")]
    assert blocks[0] <= blocks[1] + 64, "holes stay holes"


@pytest.mark.skipif(not all(map(shutil.which, ("skopeo", "umoci"))), reason="skopeo or umoci is not installed")
@pytest.mark.parametrize("seed", range(-(-LAYERS // PER_STACK)))
def test_a_stack_is_what_skopeo_and_umoci_make_of_it(seed: int, room: Path) -> None:
    grown = Grown(seed + 1_000_000)
    layers = [
        layer(grown.layer(grown.chance.choice(tuple(FORMATS))), grown.chance.choice(PACKINGS))
        for _ in range(PER_STACK)
    ]  # fmt: skip
    with FaultyRegistry() as registry:
        reference = registry.hold("app", "1", image(layers))
        ours = anyio.run(merged, reference, room)
        by_umoci(reference, room)
    assert differences(without_empty(ours), census(room / "bundle" / "rootfs")) == [], seed


@pytest.mark.parametrize("seed", range(-(-LAYERS // PER_STACK)))
@pytest.mark.parametrize("driver", ["fuse-overlayfs", "copy", "erofs"])
def test_every_driver_shows_what_overlayfs_shows(driver: str, seed: int, room: Path) -> None:
    if reason := lacking(driver):
        pytest.skip(reason)
    grown = Grown(seed + 2_000_000)
    store = LayerStore(room / "layers", sync=False)
    diff_ids = [unpacked(store, grown.layer(grown.chance.choice(tuple(FORMATS)))) for _ in range(PER_STACK)]
    stack = Image("app", "", ImageConfig(), tuple(diff_ids), "", Bytes(0), Timestamp(0))
    seen = [anyio.run(shown, Choice(name, "").make(store, room), stack, room / name) for name in ("overlay", driver)]
    assert seen[0]
    assert differences(*seen) == [], seed


def unpacked(store: LayerStore, raw: bytes) -> str:
    diff_id = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    temporary = store.begin()
    store.commit(temporary, diff_id, extract_layer(io.BytesIO(raw), temporary).marks)
    return diff_id


async def shown(snapshots: Snapshots, stack: Image, directory: Path) -> Census:
    directory.mkdir()
    try:
        return census((await snapshots.mount(stack, directory.name, directory)).rootfs)
    finally:
        await snapshots.unmount(directory.name, directory, discard=True)


def without_empty(found: Census) -> Census:
    """Go's reader of archives takes a pax record without a value for none (POSIX pax has no xattrs to decide by); GNU
    tar, libarchive and we keep an attribute that is empty."""
    kept = {path: tuple(pair for pair in facts.xattrs if pair[1]) for path, facts in found.items()}
    return {path: facts._replace(xattrs=kept[path]) for path, facts in found.items()}


async def merged(reference: str, room: Path) -> Census:
    """Pulled, mounted as for a container, and looked at."""
    images = LocalImages(room / "data")
    snapshots = OverlaySnapshots(LayerStore(room / "data" / "layers"), room / "containers")
    directory = room / "containers" / "one"
    directory.mkdir(parents=True)
    mounted = await snapshots.mount(await images.pull(reference), "one", directory)
    try:
        return census(mounted.rootfs)
    finally:
        await snapshots.unmount("one", directory, discard=True)


def by_umoci(reference: str, room: Path) -> None:
    """Copied by skopeo into a layout, unpacked on its way because umoci knows no zstd; unpacked by umoci."""
    copy = ["skopeo", "--insecure-policy", "copy", "-q"]
    run([*copy, "--src-tls-verify=false", "--dest-decompress", f"docker://{reference}", f"dir:{room / 'plain'}"])
    run([*copy, f"dir:{room / 'plain'}", f"oci:{room / 'layout'}:1"])
    run(["umoci", "unpack", "--image", f"{room / 'layout'}:1", str(room / "bundle")])


def run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
