"""Archives out and in: ours, skopeo's of both kinds, and many that are broken or hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Compression, Image
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Corrupt, Invalid, NotFound, ZlayerError
from zlayer.testing.imagery import image, layer
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


async def pulled(tmp_path: Path, *names: str) -> tuple[LocalImages, list[Image]]:
    images = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
    found = []
    with Registry(tmp_path) as registry:
        for name in names:
            made = busybox_image({"Cmd": ["echo", name], "Labels": {"name": name}})
            found.append(await images.pull(push(registry.target, name, "1", made)))
    return images, found


async def export(images: LocalImages, names: Sequence[str], path: Path, compression: Compression = "") -> Path:
    with path.open("wb") as file:
        await images.export(names, file.fileno(), compression=compression)
    return path


async def take_in(images: LocalImages, path: Path, name: str = "", *, rootfs: bool = False) -> Sequence[Image]:
    with path.open("rb") as file:
        return await images.import_archive(file.fileno(), name=name, rootfs=rootfs)


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
async def test_what_goes_out_comes_in_the_same(tmp_path: Path, compression: Compression) -> None:
    images, there = await pulled(tmp_path, "a", "b")
    path = await export(images, [one.reference for one in there], tmp_path / "x.tar", compression)
    other = LocalImages(tmp_path / "other")
    back = await take_in(other, path)
    assert [replace(one, pulled_at=there[0].pulled_at) for one in back] == [
        replace(one, pulled_at=there[0].pulled_at) for one in there
    ]
    assert len(await LocalImages(tmp_path / "other").list()) == 2
    again = await take_in(other, path)
    assert [one.digest for one in again] == [one.digest for one in there]
    assert sorted(p.name for p in (tmp_path / "other" / "blobs" / "tmp").iterdir()) == []


async def test_another_name(tmp_path: Path) -> None:
    images, [one] = await pulled(tmp_path, "a")
    path = await export(images, [one.reference], tmp_path / "x.tar")
    [named] = await take_in(images, path, "mine:2")
    assert (named.reference, named.digest) == ("docker.io/library/mine:2", one.digest)
    images, two = await pulled(tmp_path, "a", "b")
    both = await export(images, [one.reference for one in two], tmp_path / "y.tar")
    with pytest.raises(Invalid, match="2 images"):
        await take_in(images, both, "mine:3")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("packed", [False, True])
async def test_what_other_tools_write_is_read(tmp_path: Path, kind: str, packed: bool) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    made = busybox_image({"Cmd": ["true"]})
    path = tmp_path / "x.tar"
    with Registry(tmp_path) as registry:
        source = push(registry.target, "a", "1", made)
        target = f"{kind}:{path}:example.test/team/app:7" if kind == "docker-archive" else f"{kind}:{path}:7"
        await anyio.run_process(["skopeo", "copy", "--src-tls-verify=false", f"docker://{source}", target])
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    images = LocalImages(tmp_path / "data")
    [found] = await take_in(images, path, "" if kind == "docker-archive" else "example.test/team/app:7")
    assert found.reference == "example.test/team/app:7"
    assert found.layers == tuple(one.diff_id for one in made.layers)
    assert found.config.cmd == ("true",)
    assert (tmp_path / "data" / "layers" / found.layers[0].partition(":")[2] / "diff" / "bin" / "busybox").is_file()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_what_we_write_is_read_by_other_tools(tmp_path: Path, kind: str) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    images, [one] = await pulled(tmp_path, "a")
    path = await export(images, [one.reference], tmp_path / "x.tar")
    done = await anyio.run_process(["skopeo", "inspect", "--config", f"{kind}:{path}"])
    assert json.loads(done.stdout)["config"]["Cmd"] == ["echo", "a"]


async def test_a_plain_tree_becomes_an_image(tmp_path: Path) -> None:
    tree = Tar().file("bin/hello", b"hi", mode=0o755).finish()
    for name, data in (("plain", tree), ("packed", gzip.compress(tree))):
        path = tmp_path / name
        path.write_bytes(data)
        images = LocalImages(tmp_path / f"data-{name}")
        [made] = await take_in(images, path, "mine", rootfs=True)
        assert made.layers == (f"sha256:{hashlib.sha256(tree).hexdigest()}",)
        assert made.config.cmd == ("/bin/sh",)
        with pytest.raises(Invalid, match="no name"):
            await take_in(images, path, rootfs=True)


async def test_only_what_is_here_goes_out(tmp_path: Path) -> None:
    images, [one] = await pulled(tmp_path, "a")
    with pytest.raises(NotFound):
        await export(images, [one.reference, "absent"], tmp_path / "x.tar")
    next(iter((tmp_path / "data" / "blobs" / "sha256").iterdir())).unlink()
    with pytest.raises(ZlayerError, match=r"cannot be reached|not on this node"):
        await export(images, [one.reference], tmp_path / "y.tar")
    assert (tmp_path / "y.tar").stat().st_size == 0


Member = tuple[tarfile.TarInfo, bytes]


def members(path: Path) -> list[Member]:
    with tarfile.open(path) as archive:
        return [(one, file.read() if (file := archive.extractfile(one)) else b"") for one in archive.getmembers()]


def pack(found: Sequence[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry, body in found:
            copy = tarfile.TarInfo(entry.name)
            copy.type, copy.linkname, copy.size = entry.type, entry.linkname, len(body)
            archive.addfile(copy, io.BytesIO(body))
    return out.getvalue()


def without(what: str) -> Callable[[list[Member]], list[Member]]:
    return lambda found: [one for one in found if what not in one[0].name]


def changed(what: str, body: bytes) -> Callable[[list[Member]], list[Member]]:
    return lambda found: [(entry, body if what in entry.name else old) for entry, old in found]


def flipped(found: list[Member]) -> list[Member]:
    return [
        (e, b[:-1] + bytes([b[-1] ^ 1]) if e.name.startswith("blobs/") and len(b) > 10_000 else b) for e, b in found
    ]


def linked(found: list[Member]) -> list[Member]:
    """Its manifest.json is a link out of the archive."""
    kept = [one for one in found if one[0].name not in ("manifest.json", "index.json")]
    entry = tarfile.TarInfo("manifest.json")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
    return [*kept, (entry, b"")]


def docker(**item: object) -> Callable[[list[Member]], list[Member]]:
    """Only a manifest.json, with this in it."""
    body = json.dumps([item]).encode()
    return lambda found: changed("manifest.json", body)(without("index.json")(found))


BROKEN: dict[str, Callable[[list[Member]], list[Member]]] = {
    "no documents": lambda found: without("index.json")(without("manifest.json")(found)),
    "no blobs": without("blobs/"),
    "a blob that is another": flipped,
    "an index that is no JSON": changed("index.json", b"{"),
    "an index that is a list": changed("index.json", b"[]"),
    "an index of numbers": changed("index.json", b'{"manifests":[1]}'),
    "an index without digests": changed("index.json", b'{"manifests":[{"digest":"../../etc/passwd"}]}'),
    "nothing at all": lambda _found: [],
    "manifest.json is a link outside": linked,
    "a config outside": docker(Config="../../etc/passwd", Layers=[], RepoTags=["a:1"]),
    "layers outside": docker(Config="oci-layout", Layers=["/etc/passwd"], RepoTags=["a:1"]),
    "no config": docker(Layers=[]),
    "a config that is none": docker(Config="oci-layout", Layers=[], RepoTags=["a:1"]),
    "a name that is none": docker(Config="oci-layout", Layers=[], RepoTags=["NOT/a name"]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_is_told_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    images, [one] = await pulled(tmp_path, "a")
    path = await export(images, [one.reference], tmp_path / "x.tar")
    (tmp_path / "broken.tar").write_bytes(pack(BROKEN[name](members(path))))
    other = LocalImages(tmp_path / "other")
    with pytest.raises((Corrupt, Invalid, NotFound)) as caught:
        await take_in(other, tmp_path / "broken.tar")
    assert caught.value.hint
    assert await other.list() == []
    left = [p for p in (tmp_path / "other" / "blobs").rglob("*") if p.is_file()]
    assert left == []
    layers = tmp_path / "other" / "layers"
    assert not layers.exists() or list(layers.iterdir()) == []


async def test_one_that_is_cut_short_anywhere(tmp_path: Path) -> None:
    images = LocalImages(tmp_path / "data")
    with Registry(tmp_path) as registry:
        made = image([layer(Tar().file("f", os.urandom(3000)))], {"Cmd": ["x"]})
        one = await images.pull(push(registry.target, "small", "1", made))
    whole = (await export(images, [one.reference], tmp_path / "x.tar")).read_bytes()
    other = LocalImages(tmp_path / "other")
    cut = tmp_path / "cut.tar"
    for at in (0, 1, 511, 512, 600, 1024, 2000, len(whole) // 2, len(whole) - 1500):
        cut.write_bytes(whole[:at])
        with pytest.raises((Corrupt, Invalid)):
            await take_in(other, cut)
        assert await other.list() == []
