"""The worker process: killed, orphaned, cancelled, shared; what many ask for at once is fetched once."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Progress
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Failed, NotFound
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
]
PATIENT = RegistrySettings(attempts=3, backoff=0.01, stall_timeout=60)
REACHED = 300_000
SCRIPT = """
import sys, anyio
from pathlib import Path
from zlayer.image.local import LocalImages
anyio.run(LocalImages(Path(sys.argv[1])).pull, sys.argv[2])
"""


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as started:
        yield started


@pytest.fixture
def made() -> OciImage:
    return image([layer(Tar().file("data", os.urandom(900_000)))])


def workers(parent: int) -> list[int]:
    """Image workers among the children of a process."""
    children = [
        int(pid) for task in Path(f"/proc/{parent}/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    return [pid for pid in children if b"zlayer.image.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def stalled(registry: FaultyRegistry, root: Path, digest: str) -> None:
    """Wait until the registry has stopped sending the blob and all it sent is on disk."""
    await anyio.to_thread.run_sync(registry.stalling.acquire)
    partial = root / "blobs" / "partial" / digest.removeprefix("sha256:")
    with anyio.fail_after(30):
        # Another process writes the file: there is no event to wait for.
        while not partial.exists() or partial.stat().st_size < REACHED:  # noqa: ASYNC110
            await anyio.sleep(0.01)


def temporary(root: Path) -> list[str]:
    return [entry.name for entry in (root / "layers").glob(".*")]


async def test_kill_9_of_the_worker_and_the_next_pull_resumes(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    reference = registry.hold("app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=REACHED, times=1))
    images = LocalImages(tmp_path, PATIENT)

    async def kill() -> None:
        await stalled(registry, tmp_path, digest)
        (pid,) = workers(os.getpid())
        os.kill(pid, signal.SIGKILL)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        with pytest.raises(Failed, match="SIGKILL"):
            await images.pull(reference)
    assert temporary(tmp_path) == []
    assert await images.list() == []
    assert (await images.pull(reference)).digest == made.digest
    assert [asked.range for asked in registry.asked if digest in asked.path] == ["", f"bytes={REACHED}-"]


async def test_the_worker_dies_with_the_daemon_and_the_next_daemon_resumes(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    reference = registry.hold("app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=REACHED, times=1))
    daemon = await anyio.open_process([sys.executable, "-c", SCRIPT, tmp_path, reference])
    try:
        await stalled(registry, tmp_path, digest)
        (pid,) = workers(daemon.pid)
    finally:
        daemon.kill()
        await daemon.aclose()
    with anyio.fail_after(30):  # not our child: init reaps it
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110
            await anyio.sleep(0.01)
    images = LocalImages(tmp_path, PATIENT)
    assert temporary(tmp_path) == [], "the new daemon swept"
    assert (await images.pull(reference)).digest == made.digest
    assert [asked.range for asked in registry.asked if digest in asked.path] == ["", f"bytes={REACHED}-"]


async def test_cancelling_kills_the_worker(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    reference = registry.hold("app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=REACHED, times=1))
    images = LocalImages(tmp_path, PATIENT)
    async with anyio.create_task_group() as group:
        group.start_soon(images.pull, reference)
        await stalled(registry, tmp_path, digest)
        group.cancel_scope.cancel()
    assert workers(os.getpid()) == []
    assert temporary(tmp_path) == []
    assert await images.pull(reference)


async def test_ten_at_once_download_once_and_all_hear_progress(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    reference = registry.hold("app", "1", made)
    images = LocalImages(tmp_path, PATIENT)
    heard: list[list[Progress]] = [[] for _ in range(10)]
    got = []

    async def one(number: int) -> None:
        got.append(await images.pull(reference, on_progress=heard[number].append))

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(one, number)
    assert {pulled.digest for pulled in got} == {made.digest}
    assert registry.count("/blobs/") == 2
    assert registry.count("/manifests/") == 1
    assert all(progress[-1].phase == "done" for progress in heard)


async def test_two_images_at_once_download_a_shared_layer_once(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    shared = made.layers[0]
    names = ("left", "right")
    several = {name: image([shared, layer(Tar().file(name, name.encode()))]) for name in names}
    references = [registry.hold(name, "1", each) for name, each in several.items()]
    images = LocalImages(tmp_path, PATIENT)
    async with anyio.create_task_group() as group:
        for reference in references:
            group.start_soon(images.pull, reference)
    assert len(await images.list()) == 2
    assert registry.count(shared.blob.digest) == 1
    await images.remove(references[0])
    assert (tmp_path / "layers" / shared.diff_id.removeprefix("sha256:")).is_dir()
    assert await images.pull(references[1], policy="never")
    await images.remove(references[1])
    assert list((tmp_path / "layers").iterdir()) == []


async def test_the_leader_leaves_and_another_takes_over(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    reference = registry.hold("app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=REACHED, times=1))
    images = LocalImages(tmp_path, PATIENT)
    leader = anyio.CancelScope()
    got = []

    async def lead() -> None:
        with leader:
            await images.pull(reference)

    async def follow() -> None:
        got.append(await images.pull(reference))

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await stalled(registry, tmp_path, digest)
        group.start_soon(follow)
        await anyio.lowlevel.checkpoint()
        leader.cancel()
    assert [pulled.digest for pulled in got] == [made.digest]


async def test_an_error_goes_to_all_who_wait(registry: FaultyRegistry, tmp_path: Path) -> None:
    images = LocalImages(tmp_path, PATIENT)
    errors = []

    async def one() -> None:
        try:
            await images.pull(f"{registry.address}/missing")
        except NotFound as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one)
    assert len(errors) == 5
    assert registry.count("/manifests/") == 1


async def test_many_layers_at_once_with_few_places_to_extract(registry: FaultyRegistry, tmp_path: Path) -> None:
    made = image([layer(Tar().file(f"f{n}", os.urandom(50_000))) for n in range(12)])
    settings = RegistrySettings(downloads=4, extractions=1)
    pulled = await LocalImages(tmp_path, settings).pull(registry.hold("many", "1", made))
    for number, diff_id in enumerate(pulled.layers):
        assert (tmp_path / "layers" / diff_id.removeprefix("sha256:") / "diff" / f"f{number}").stat().st_size == 50_000
    assert all(registry.count(each.blob.digest) == 1 for each in made.layers)


async def test_a_lost_layer_is_unpacked_again_without_a_download(
    registry: FaultyRegistry, made: OciImage, tmp_path: Path
) -> None:
    reference = registry.hold("app", "1", made)
    images = LocalImages(tmp_path, PATIENT)
    pulled = await images.pull(reference)
    home = tmp_path / "layers" / pulled.layers[0].removeprefix("sha256:")
    await anyio.to_thread.run_sync(shutil.rmtree, home)
    again = await images.pull(reference)
    assert (home / "diff" / "data").stat().st_size == 900_000
    assert again.digest == pulled.digest
    assert registry.count(made.layers[0].blob.digest) == 1


async def test_nothing_secret_on_the_command_line(registry: FaultyRegistry, made: OciImage, tmp_path: Path) -> None:
    from zlayer.image.settings import RegistryHost

    reference = registry.hold("app", "1", made)
    digest = made.layers[0].blob.digest
    registry.faults.append(Fault(digest, stall=REACHED, times=1))
    host = RegistryHost(username="someone", password="very-secret")
    settings = RegistrySettings(hosts={registry.address: host}, stall_timeout=60)
    async with anyio.create_task_group() as group:
        group.start_soon(LocalImages(tmp_path, settings).pull, reference)
        await stalled(registry, tmp_path, digest)
        (pid,) = workers(os.getpid())
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        group.cancel_scope.cancel()
    assert b"very-secret" not in seen
