"""Registries that fail, lie and stall, and disks that fill: a clear error, and nothing half-visible is left."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Deadline, Denied, Exhausted, NotFound, Unavailable, Unsupported, ZlayerError
from zlayer.testing.imagery import Blob, Layer, OciImage, blob, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
]
FAST = RegistrySettings(attempts=3, backoff=0.01, stall_timeout=0.5)
SIZE = 600_000


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as started:
        yield started


@pytest.fixture
def made() -> OciImage:
    return image([layer(Tar().file("data", os.urandom(SIZE)))])


def left(root: Path) -> list[str]:
    """What lies below the data directory: no records, blobs, layers or partials, by name."""
    rooms = ("images", "layers", "blobs/sha256", "blobs/partial", "blobs/tmp")
    names = [f"{room}/{entry.name}" for room in rooms if (root / room).is_dir() for entry in (root / room).iterdir()]
    return sorted(name for name in names if name != "images/tmp")


async def good_after(images: LocalImages, registry: FaultyRegistry, reference: str) -> None:
    """The fault gone, the same pull succeeds."""
    registry.faults.clear()
    assert await images.pull(reference)


@pytest.mark.parametrize(
    ("status", "error"), [(401, Denied), (403, Denied), (404, NotFound), (429, Unavailable), (500, Unavailable)]
)
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
async def test_statuses(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path, status: int, error: type[ZlayerError], where: str
) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults.append(Fault(where, status=status))
    images = LocalImages(tmp_path, FAST)
    with pytest.raises(error, match=str(status) if status not in (404, 429) else "registry") as caught:
        await images.pull(reference)
    assert caught.value.hint
    assert not [name for name in left(tmp_path) if name.startswith(("images/", "layers/"))]
    await good_after(images, registry, reference)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_passing_trouble_is_sat_out(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path, status: int
) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults += [
        Fault("/manifests/", status=status, times=2, headers={"Retry-After": "0"}),
        Fault(made.layers[0].blob.digest, status=status, times=2),
    ]
    assert await LocalImages(tmp_path, FAST).pull(reference)


async def test_a_long_retry_after_is_passed_on(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults.append(Fault("/manifests/", status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(Unavailable) as caught:
        await LocalImages(tmp_path, FAST).pull(reference)
    assert caught.value.retry_after == 3600
    assert registry.count("/manifests/") == 1, "no hammering"


async def test_a_truncated_body_is_resumed(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, truncate=200_000, times=2))
    assert await LocalImages(tmp_path, FAST).pull(reference)
    ranges = [asked.range for asked in registry.asked if digest in asked.path]
    assert ranges == ["", "bytes=200000-", "bytes=400000-"]


async def test_a_server_without_ranges_is_read_again(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults += [Fault(digest, truncate=200_000, times=1), Fault(digest, ignore_range=True)]
    assert await LocalImages(tmp_path, FAST).pull(reference)


async def test_a_stall_is_resumed(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=200_000, times=1))
    assert await LocalImages(tmp_path, FAST).pull(reference)
    assert [asked.range for asked in registry.asked if digest in asked.path] == ["", "bytes=200000-"]


async def test_a_stall_without_end_is_a_deadline(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults.append(Fault("/blobs/", skip=1, stall=0))
    with pytest.raises(Deadline, match="stalled"):
        await LocalImages(tmp_path, FAST).pull(reference)
    assert not [name for name in left(tmp_path) if name.startswith("layers/")]


@pytest.mark.parametrize("where", ["config", "layer"])
async def test_corrupted_content_is_not_kept(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path, where: str
) -> None:
    reference = registry.hold("team/app", "1", made)
    digest = made.config.digest if where == "config" else made.layers[0].blob.digest
    registry.faults.append(Fault(digest, corrupt=100))
    images = LocalImages(tmp_path, FAST)
    with pytest.raises(Corrupt, match="does not match its digest"):
        await images.pull(reference)
    assert not [name for name in left(tmp_path) if digest.removeprefix("sha256:") in name or "layers/" in name]
    await good_after(images, registry, reference)


async def test_a_corrupt_manifest(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults.append(Fault("/manifests/", corrupt=10))
    with pytest.raises(Corrupt, match="manifest"):
        await LocalImages(tmp_path, FAST).pull(reference)
    assert left(tmp_path) == []


async def test_a_bad_partial_is_fetched_anew(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    """What a power cut leaves of a download may be wrong: the digest says so, and the download starts over."""
    reference = registry.hold("team/app", "1", made)
    digest = made.layers[0].blob.digest
    partial = tmp_path / "blobs" / "partial" / digest.removeprefix("sha256:")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(made.layers[0].blob.read()[:1000] + bytes(5000))
    assert await LocalImages(tmp_path, FAST).pull(reference)
    assert not partial.exists()
    assert [asked.range for asked in registry.asked if digest in asked.path][-1] == ""


def _lying(made: OciImage, **changes: object) -> OciImage:
    """The image with another layer descriptor."""
    altered = [Layer(replace(each.blob, **changes), each.diff_id) for each in made.layers]  # type: ignore[arg-type]
    return image(altered)


async def test_a_wrong_size(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", _lying(made, size=made.layers[0].blob.size + 1))
    with pytest.raises(Corrupt, match="bytes at the registry"):
        await LocalImages(tmp_path, FAST).pull(reference)


async def test_a_wrong_diff_id(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    lying = image([Layer(made.layers[0].blob, "sha256:" + "0" * 64)])
    reference = registry.hold("team/app", "1", lying)
    with pytest.raises(Corrupt, match="unpacks to"):
        await LocalImages(tmp_path, FAST).pull(reference)
    assert not [name for name in left(tmp_path) if name.startswith(("layers/", "images/", "blobs/partial"))]


async def test_content_that_is_no_layer(registry: FaultyRegistry, tmp_path: Path) -> None:
    junk = os.urandom(5000)
    made = image([Layer(blob(b"BZh9" + junk, "application/vnd.oci.image.layer.v1.tar"), "sha256:" + "0" * 64)])
    with pytest.raises(Unsupported, match="bzip2"):
        await LocalImages(tmp_path, FAST).pull(registry.hold("a", "1", made))
    made = image([Layer(blob(b"\x1f\x8b" + junk, "application/vnd.oci.image.layer.v1.tar"), "sha256:" + "0" * 64)])
    with pytest.raises(Corrupt, match="decompressed"):
        await LocalImages(tmp_path, FAST).pull(registry.hold("b", "1", made))
    assert not [name for name in left(tmp_path) if name.startswith(("layers/", "blobs/partial"))]


async def test_a_manifest_too_large(registry: FaultyRegistry, tmp_path: Path) -> None:
    big = Blob(b"{" + b" " * (5 << 20), "sha256:" + "0" * 64, 5 << 20, "application/json")
    registry.hold_blob("/v2/a/manifests/latest", big)
    with pytest.raises(Corrupt, match="more than"):
        await LocalImages(tmp_path, FAST).pull(f"{registry.address}/a")


async def test_redirects_drop_the_login(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    """The blob lies at another host, which must not see the password, and gets the range."""
    with FaultyRegistry() as storage:
        content = made.layers[0].blob
        storage.hold_blob("/store/x", content)
        storage.faults.append(Fault("/store/", truncate=100_000, times=1))
        reference = registry.hold("team/app", "1", made)
        elsewhere = {"Location": f"http://{storage.address}/store/x?signature=s"}
        challenge = {"WWW-Authenticate": 'Basic realm="x"'}
        registry.faults += [
            Fault("/manifests/", status=401, times=1, headers=challenge),
            Fault(content.digest, status=307, headers=elsewhere),
        ]
        host = RegistryHost(username="user", password="secret")
        settings = replace(FAST, hosts={registry.address: host})
        assert await LocalImages(tmp_path, settings).pull(reference)
        assert any(asked.authorization for asked in registry.asked)
        assert [asked.authorization for asked in storage.asked] == ["", ""]
        assert [asked.range for asked in storage.asked] == ["", "bytes=100000-"]


async def test_redirects_in_circles_and_out_of_http(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("team/app", "1", made)
    registry.faults.append(Fault("/manifests/", status=302, headers={"Location": "/v2/team/app/manifests/1"}))
    with pytest.raises(NotFound, match="circles"):
        await LocalImages(tmp_path, FAST).pull(reference)
    registry.faults[:] = [Fault("/manifests/", status=302, headers={"Location": "file:///etc/passwd"})]
    with pytest.raises(Corrupt, match="file://"):
        await LocalImages(tmp_path, FAST).pull(reference)


async def test_nobody_listens(tmp_path: Path) -> None:
    with FaultyRegistry() as registry:
        address = registry.address
    with pytest.raises(Unavailable, match="cannot be reached"):
        await LocalImages(tmp_path, FAST).pull(f"{address}/app")


class TestFullDisk:
    @pytest.fixture
    def small(self) -> Iterator[Path]:
        """Four MiB of tmpfs."""
        point = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", "-l", point], check=True)
            point.rmdir()

    async def test_what_cannot_fit_is_refused_at_once(self, registry: FaultyRegistry, small: Path) -> None:
        made = image([layer(Tar().file("data", os.urandom(5 << 20)))])
        reference = registry.hold("big", "1", made)
        with pytest.raises(Exhausted, match="needs at least"):
            await LocalImages(small, FAST).pull(reference)
        assert registry.count(made.layers[0].blob.digest) == 0
        assert left(small) == []

    async def test_what_fills_it_while_unpacking_leaves_nothing(self, registry: FaultyRegistry, small: Path) -> None:
        layers = [layer(Tar().file("small", b"x")), layer(Tar().file("data", bytes(20 << 20)))]
        reference = registry.hold("big", "1", image(layers))
        images = LocalImages(small, FAST)
        with pytest.raises(Exhausted) as caught:
            await images.pull(reference)
        assert "disk" in caught.value.message + caught.value.hint
        assert left(small) == []
        fits = registry.hold("small", "1", image(layers[:1]))
        assert await images.pull(fits), "the disk is usable again"

    async def test_an_image_that_is_here_survives(self, registry: FaultyRegistry, small: Path) -> None:
        images = LocalImages(small, FAST)
        kept = await images.pull(registry.hold("kept", "1", image([layer(Tar().file("a", b"1" * 1000))])))
        before = left(small)
        big = image([layer(Tar().file("data", bytes(20 << 20)))])
        with pytest.raises(Exhausted):
            await images.pull(registry.hold("big", "1", big))
        assert left(small) == before
        assert await images.pull(kept.reference, policy="never") == kept
