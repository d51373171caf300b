"""The S3 tier between real nodes' stores, a real registry that is counted, and a real server that speaks S3."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from zlayer.image.contract import Progress
from zlayer.image.local import LocalImages
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.shelf import Shelf
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import NotFound, Unavailable
from zlayer.testing.front import Front, Trouble
from zlayer.testing.imagery import OciImage, image, index, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry
from zlayer.testing.registry import missing as no_registry
from zlayer.testing.s3_swift import Swift, missing, write_keys

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(no_registry()), reason=no_registry() or "there is one"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>"
ABSENT = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@dataclass
class Place:
    """A registry and S3, each counted; `node` makes the images of one more node."""

    root: Path
    registry: Registry
    counted: Front
    s3: Front
    swift: Swift
    told: list[tuple[str, str]] = field(default_factory=list)

    def hold(self, made: OciImage, name: str = "app") -> str:
        push(self.registry.target, name, "1", made)
        return f"{self.counted.address}/{name}:1"

    def node(self, name: str, settings: S3Settings | None = None) -> LocalImages:
        s3 = settings or self.swift.impatient(self.s3.address)
        return LocalImages(self.root / name, RegistrySettings(attempts=2, backoff=0.01, stall_timeout=20, s3=s3))

    def hear(self, progress: Progress) -> None:
        if progress.digest.startswith("s3 "):
            self.told.append((progress.digest, progress.phase))

    @property
    def phases(self) -> list[str]:
        return [phase for _, phase in self.told]

    def blobs(self) -> int:
        return self.counted.count("/blobs/", "GET")


@pytest.fixture
def place(tmp_path: Path, swift: Swift) -> Iterator[Place]:
    with Registry(tmp_path) as registry, Front(registry.address) as counted, swift.front() as s3:
        yield Place(tmp_path, registry, counted, s3, swift)


def made(*sizes: int) -> OciImage:
    layers = [layer(Tar().file(f"f{at}", os.urandom(size))) for at, size in enumerate(sizes or (300_000, 2000))]
    return image(layers, {"Cmd": [os.urandom(8).hex()]})


async def keep(node: LocalImages) -> bool:
    assert node.keeper is not None
    return await node.keeper.look()


def seeded(place: Place, *sizes: int) -> tuple[OciImage, str]:
    """An image that is in the registry and in the bucket."""
    wanted = made(*sizes)
    for blob in (*wanted.blobs(), wanted.manifest):
        place.swift.write(blob.digest, blob.read())
    return wanted, place.hold(wanted)


async def test_a_cluster_pulls_from_the_registry_once(place: Place) -> None:
    wanted = made()
    listed = index([wanted])
    push(place.registry.target, "app", "1", listed)
    reference = f"{place.counted.address}/app:1"
    first = place.node("first")
    await first.pull(reference)
    assert place.blobs() == 3
    assert await keep(first)
    for blob in (listed.manifest, *wanted.blobs(), wanted.manifest):
        assert place.swift.read(blob.digest) == blob.read()
    place.counted.passed.clear()
    second = place.node("second")
    pulled = await second.pull(reference, on_progress=place.hear)
    assert (pulled.digest, pulled.index_digest) == (wanted.digest, listed.digest)
    assert place.blobs() == 0
    assert [one.target.rpartition("/")[2] for one in place.counted.passed if "/manifests/" in one.target] == ["1"]
    assert place.phases == ["answers"]
    assert second.keeper is not None
    standing = await second.keeper.standing()
    assert (standing.state, standing.waiting) == ("ok", 1), "the index came from the registry, by its tag"
    place.s3.passed.clear()
    assert await keep(second)
    assert place.s3.count(method="PUT") == 0, "and is there already"


async def test_an_image_named_by_its_digest_needs_no_registry_at_all(place: Place) -> None:
    wanted, _ = seeded(place)
    place.counted.faults.append(Trouble(status=503))
    pulled = await place.node("second").pull(f"{place.counted.address}/app@{wanted.digest}")
    assert pulled.digest == wanted.digest
    assert place.counted.count() == place.counted.count("/manifests/", status=503) == 0


async def test_a_read_is_resumed_from_the_byte_it_broke_at(place: Place) -> None:
    wanted, reference = seeded(place, 900_000)
    key = wanted.layers[0].blob.digest.partition(":")[2]
    place.s3.faults.append(Trouble(key, "GET", times=2, truncate=200_000))
    await place.node("second").pull(reference, on_progress=place.hear)
    ranges = [one.range for one in place.s3.passed if key in one.target]
    assert ranges == ["", "bytes=200000-", "bytes=400000-"]
    assert place.blobs() == 0
    assert place.phases == ["answers"]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (Trouble("sha256", "GET", truncate=100), "broke off"),
        (Trouble("sha256", "GET", skip=2, truncate=100), "broke off sha256:"),
        (Trouble("sha256", "GET", skip=2, stall=100), "broke off sha256:"),
        (Trouble("sha256", "GET", stall=100), "stalled"),
        (Trouble("sha256", "GET", status=503, body=SLOW_DOWN), "SlowDown"),
        (Trouble("sha256", "GET", status=403, body=DENIED), "InvalidAccessKeyId"),
        (Trouble("sha256", "GET", status=301, body=b""), "answered 301"),
        (Trouble("sha256", "GET", status=500, body=b"\x00<not xml"), "answered 500"),
        (Trouble("sha256", "GET", take=0), "cannot be reached"),
    ],
)
async def test_what_fails_is_told_once_and_the_registry_serves(place: Place, trouble: Trouble, why: str) -> None:
    wanted, reference = seeded(place, 500_000, 400_000, 300_000)
    place.s3.faults.append(replace(trouble))
    node = place.node("second")
    with anyio.fail_after(20):
        assert (await node.pull(reference, on_progress=place.hear)).digest == wanted.digest
    failures = [phase for phase in place.phases if phase.startswith("failed")]
    assert len(failures) == 1, place.phases
    assert why in failures[0]
    asked = len(place.s3.passed)
    another = made()
    await node.pull(place.hold(another, "other"), on_progress=place.hear)
    assert len(place.s3.passed) == asked, "it is not asked again so soon"
    assert node.keeper is not None
    assert (await node.keeper.standing()).state == "failing"


async def test_a_bucket_that_is_not_there_costs_little(place: Place, swift: Swift) -> None:
    wanted = made()
    reference = place.hold(wanted)
    with Front("127.0.0.1:1") as gone:
        settings = swift.impatient(gone.address)
    node = place.node("alone", settings)
    with anyio.fail_after(10):
        await node.pull(reference, on_progress=place.hear)
    assert len(place.phases) == 1
    assert "cannot be reached" in place.phases[0]
    assert not await keep(node)
    assert node.keeper is not None
    standing = await node.keeper.standing()
    assert standing.waiting == 4
    assert "Connection refused" in standing.held_up


@pytest.mark.parametrize("body", [ABSENT, b""])
async def test_who_may_not_list_is_refused_what_is_not_there(place: Place, body: bytes) -> None:
    wanted, reference = seeded(place, 500_000, 400_000)
    place.s3.faults.append(Trouble(wanted.layers[0].blob.digest.partition(":")[2], "GET", status=403, body=body))
    await place.node("second").pull(reference, on_progress=place.hear)
    assert place.blobs() == 1
    assert place.phases == ["answers"]


@pytest.mark.parametrize(
    ("which", "wrong"),
    [("layer", "altered"), ("layer", "longer"), ("layer", "shorter"), ("layer", "empty"), ("config", "altered"),
     ("config", "longer")],
)  # fmt: skip
async def test_wrong_content_in_the_bucket_is_told_and_replaced(place: Place, which: str, wrong: str) -> None:
    wanted, reference = seeded(place, 500_000)
    blob = wanted.layers[0].blob if which == "layer" else wanted.config
    right = blob.read()
    bad = {"altered": bytes([right[0] ^ 1]) + right[1:], "longer": right + b"x", "shorter": right[:-1], "empty": b""}
    place.swift.write(blob.digest, bad[wrong])
    node = place.node("second")
    pulled = await node.pull(reference, on_progress=place.hear)
    assert pulled.digest == wanted.digest
    assert place.blobs() == 1
    assert [phase for phase in place.phases if blob.digest in phase and "replaced" in phase]
    assert await keep(node)
    assert place.swift.read(blob.digest) == right
    place.counted.passed.clear()
    await place.node("third").pull(reference)
    assert place.blobs() == 0


async def test_a_partial_download_is_finished_from_the_bucket(place: Place) -> None:
    wanted, reference = seeded(place, 900_000)
    blob = wanted.layers[0].blob
    partial = place.root / "second" / "blobs" / "partial" / blob.digest.partition(":")[2]
    partial.parent.mkdir(parents=True)
    partial.write_bytes(blob.read()[:300_000])
    await place.node("second").pull(reference)
    assert [one.range for one in place.s3.passed if blob.digest[7:] in one.target] == ["bytes=300000-"]
    assert place.blobs() == 0


def arrived(shelf: Shelf) -> set[int]:
    """Parts the node knows to be in the bucket."""
    return {number for one in shelf.waiting() if one.upload is not None for number in one.upload.etags}


def until_arrived(shelf: Shelf, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(arrived(shelf)) < count and time.monotonic() < deadline:
        time.sleep(0.02)


async def test_a_large_blob_goes_up_in_parts_and_goes_on_after_a_kill(place: Place) -> None:
    wanted = made(70 << 20)
    reference = place.hold(wanted)
    node = place.node("first")
    await node.pull(reference)
    shelf = Shelf(place.root / "first", place.swift.impatient(place.s3.address))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait()

    place.s3.faults.append(Trouble("partNumber=4", "PUT", times=1, before=hold))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep, node)
        await to_thread.run_sync(held.wait)
        await to_thread.run_sync(until_arrived, shelf, 3)
        tasks.cancel_scope.cancel()  # kills the worker with SIGKILL
    go.set()
    assert place.swift.read(wanted.layers[0].blob.digest) is None
    [begun] = place.swift.client().uploads()
    kept = arrived(shelf)
    place.s3.passed.clear()
    again = place.node("first")
    assert await keep(again)
    sent = {int(one.target.partition("partNumber=")[2][:1]) for one in place.s3.passed if "partNumber=" in one.target}
    assert sent == {1, 2, 3, 4, 5} - kept
    assert all(begun.upload in one.target for one in place.s3.passed if "uploadId=" in one.target)
    assert place.swift.client().uploads() == []
    assert place.swift.read(wanted.layers[0].blob.digest) == wanted.layers[0].blob.read()
    assert again.keeper is not None
    assert (await again.keeper.standing()).waiting == 0


async def test_an_upload_that_somebody_ended_begins_anew(place: Place) -> None:
    wanted = made(40 << 20)
    node = place.node("first")
    await node.pull(place.hold(wanted))
    place.s3.faults.append(Trouble("partNumber=2", "PUT", times=5, status=503, body=SLOW_DOWN))
    assert not await keep(node)
    [begun] = place.swift.client().uploads()
    place.swift.client().abort(begun.key, begun.upload)
    place.s3.faults.clear()
    place.s3.faults.append(
        Trouble(f"uploadId={begun.upload}", "PUT", status=404, body=b"<Error><Code>NoSuchUpload</Code></Error>")
    )
    assert await keep(node)
    assert place.swift.read(wanted.layers[0].blob.digest) == wanted.layers[0].blob.read()


async def test_a_refused_upload_waits_and_harms_no_pull(place: Place) -> None:
    wanted = made()
    reference = place.hold(wanted)
    keys = place.root / "keys"
    write_keys(keys, "test:tester", "wrong")
    settings = replace(place.swift.settings(place.s3.address), credentials_file=str(keys))
    node = place.node("first", settings)
    await node.pull(reference, on_progress=place.hear)
    assert "SignatureDoesNotMatch" in place.phases[0]
    assert not await keep(node)
    assert node.keeper is not None
    assert "SignatureDoesNotMatch" in (await node.keeper.standing()).held_up
    write_keys(keys, "test:tester", "of-one-test")
    assert await keep(node), "a key that was changed counts at once"
    assert place.swift.read(wanted.layers[0].blob.digest) is not None


async def test_what_is_damaged_here_or_gone_does_not_go_up(place: Place) -> None:
    wanted = made(300_000, 200_000)
    node = place.node("first")
    await node.pull(place.hold(wanted))
    one, other = (place.root / "first" / "blobs" / "sha256" / each.blob.digest[7:] for each in wanted.layers)
    body = bytearray(one.read_bytes())
    body[1000] ^= 1
    one.write_bytes(body)
    other.unlink()
    assert await keep(node)
    assert node.keeper is not None
    assert (node.keeper.done.damaged, node.keeper.done.gone, node.keeper.done.sent) == (1, 1, 2)
    assert place.swift.read(wanted.layers[0].blob.digest) is None


async def test_a_bucket_may_be_only_read(place: Place) -> None:
    wanted = made()
    node = place.node("first", replace(place.swift.settings(place.s3.address), upload=False))
    await node.pull(place.hold(wanted))
    assert node.keeper is not None
    assert (await node.keeper.standing()).waiting == 0


async def test_each_source_asks_whom_it_says(place: Place) -> None:
    wanted = made()
    reference = place.hold(wanted)
    with pytest.raises(NotFound, match="local_only"):
        await place.node("nobody").pull(reference, source="local_only")
    assert place.counted.passed == place.s3.passed == []

    remote = place.node("remote")
    assert (await remote.pull(reference, source="remote_only")).digest == wanted.digest
    assert remote.keeper is not None
    assert (await remote.keeper.standing()).waiting == 0
    assert place.s3.passed == []
    assert place.blobs() == 3
    assert (await remote.pull(reference, source="local_only", policy="always")).digest == wanted.digest

    for blob in (*wanted.blobs(), wanted.manifest):
        place.swift.write(blob.digest, blob.read())
    place.counted.passed.clear()
    assert (await place.node("first").pull(reference, source="s3_first")).digest == wanted.digest
    assert place.blobs() == 0


async def test_without_its_bucket_a_node_runs_what_it_has(place: Place) -> None:
    reference = place.hold(made())
    plain = LocalImages(place.root / "plain", RegistrySettings())
    with pytest.raises(Unavailable, match="no bucket"):
        await plain.pull(reference, source="s3_first")
    pulled = await plain.pull(reference)
    for policy in ("if_not_present", "never"):
        assert (await plain.pull(reference, source="s3_first", policy=policy)).digest == pulled.digest
    with pytest.raises(Unavailable, match="no bucket"):
        await plain.pull(reference, source="s3_first", policy="always")


async def test_what_was_here_before_the_bucket_and_what_is_imported_go_up(place: Place) -> None:
    old, new = made(50_000), made(60_000)
    before = LocalImages(place.root / "node", RegistrySettings())
    await before.pull(place.hold(old, "old"))
    other = LocalImages(place.root / "other", RegistrySettings())
    reference = place.hold(new, "new")
    await other.pull(reference)
    archive = place.root / "new.tar"
    with archive.open("wb") as file:
        await other.export([reference], file.fileno())

    node = place.node("node")
    assert node.keeper is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.keeper.run)
        with anyio.fail_after(30):
            while place.swift.read(old.digest) is None:  # noqa: ASYNC110  # another process does it
                await anyio.sleep(0.05)
            with archive.open("rb") as file:
                await node.import_archive(file.fileno())
            while (await node.keeper.standing()).waiting or place.swift.read(new.digest) is None:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    for blob in (*old.blobs(), old.manifest, *new.blobs(), new.manifest):
        assert place.swift.read(blob.digest) == blob.read()
    assert not Shelf(place.root / "node", place.swift.impatient(place.s3.address)).new()
