"""Images from Debian packages start what they are for. Minutes the first time on a machine, then seconds."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Image, ImageConfig
from zlayer.image.extract import extract_layer
from zlayer.image.layers import LayerStore
from zlayer.image.mountapi import unmount
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.image.trees import remove_tree
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.debian_images import debian_image

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian-images"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: packages are installed in a chroot"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed"),
]
PROOFS = {
    "nginx": (["nginx", "-v"], "nginx version"),
    "redis": (["redis-server", "--version"], "Redis server v="),
    "postgres": (["postgres", "--version"], "postgres (PostgreSQL)"),
    "python": (["python", "-c", "import ssl, sqlite3; print(ssl.OPENSSL_VERSION)"], "OpenSSL"),
}


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    yield path
    unmount(path / "containers/c/rootfs")
    remove_tree(path)


@pytest.mark.parametrize("name", PROOFS)
async def test_an_image_of_packages_runs(root: Path, name: str) -> None:
    made = debian_image(name)
    assert len(made.layers) == 2
    assert debian_image(name) == made, "the second time it comes from the cache"
    store = LayerStore(root / "layers", sync=False)
    for layer in made.layers:
        temporary = store.begin()
        assert isinstance(layer.blob.content, Path)
        with gzip.open(layer.blob.content) as stream:
            extract_layer(stream, temporary)
        store.commit(temporary, layer.diff_id)
    diff_ids = tuple(layer.diff_id for layer in made.layers)
    image = Image(name, made.digest, ImageConfig(), diff_ids, made.platform, Bytes(0), Timestamp(0))
    mounted = await OverlaySnapshots(store, root / "containers").mount(image, "c", root / "containers/c")
    command, says = PROOFS[name]
    config = json.loads(made.config.read())["config"]
    inside = ["chroot", str(mounted.rootfs), "env", "-i", *config["Env"], *command]
    done = await anyio.run_process(inside)
    assert says in (done.stdout + done.stderr).decode()
    assert not (mounted.rootfs / "usr/sbin/policy-rc.d").exists()
    assert not list((mounted.rootfs / "var/lib/apt/lists").glob("*_Packages*"))
    assert config["Cmd"]
