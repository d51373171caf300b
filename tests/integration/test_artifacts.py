"""What belongs to an image at its registry: with the real one, which has no list, and with one that has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Denied, Invalid, NotFound
from zlayer.testing.imagery import image, index, layer
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import PASSWORD, USERNAME, Registry, missing
from zlayer.testing.registry_referrers import ReferrersRegistry

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")]
SPDX, CYCLONE = "application/spdx+json", "application/vnd.cyclonedx+json"
MADE = image([layer(Tar().file("a", b"a"))], {"Cmd": ["a"]})


@pytest.fixture(params=["tag", "api"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "tag":
        with Registry(tmp_path) as registry:
            yield registry.target
    else:
        with ReferrersRegistry(page=1) as fake:
            yield Target(fake.address)


async def attach(images: LocalImages, reference: str, body: bytes, kind: str, name: str = "") -> tuple[str, str]:
    read, write = os.pipe()
    os.write(write, body)
    os.close(write)
    try:
        done = await images.artifacts.attach(reference, read, kind=kind, name=name)
    finally:
        os.close(read)
    return done.digest, done.listed


async def test_what_is_attached_is_listed_and_read(
    target: Target, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    images = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
    name = push(target, "team/app", "1", MADE)
    listed = request.node.callspec.params["target"]
    assert await images.artifacts.referrers(name) == []
    with pytest.raises(NotFound, match="no SBOM"):
        await images.artifacts.sbom(name)
    spdx = await attach(images, name, b'{"spdxVersion": "SPDX-2.3"}\n', SPDX, "app.spdx.json")
    other = await attach(images, f"{target.address}/team/app@{MADE.digest}", b"text", "text/x-notes")
    assert (spdx[1], other[1]) == (listed, listed)
    found = await images.artifacts.referrers(name)
    assert {(one.digest, one.type, one.subject) for one in found} == {
        (spdx[0], SPDX, MADE.digest), (other[0], "text/x-notes", MADE.digest),
    }  # fmt: skip
    assert [one.digest for one in await images.artifacts.referrers(name, kind="text/x-notes")] == [other[0]]
    document = await images.artifacts.sbom(name)
    assert (document.digest, document.type, json.loads(document.text)) == (spdx[0], SPDX, {"spdxVersion": "SPDX-2.3"})
    later = await attach(images, name, b'{"bomFormat": "CycloneDX"}', CYCLONE)
    assert json.loads((await images.artifacts.sbom(name, kind=CYCLONE)).text)["bomFormat"] == "CycloneDX"
    assert len({one.digest for one in await images.artifacts.referrers(name)} | {later[0]}) == 3
    with pytest.raises(NotFound, match=SPDX.replace("+", r"\+")):
        await images.artifacts.sbom(name, kind="text/spdx")
    assert list((tmp_path / "data" / "blobs" / "tmp").iterdir()) == []


async def test_an_index_stands_for_this_machines_image_too(target: Target, tmp_path: Path) -> None:
    images = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
    machine = os.uname().machine
    own = image([layer(Tar().file("a", b"a"))], platform="linux/arm64" if machine == "aarch64" else "linux/amd64")
    both = index([own, image([layer(Tar().file("b", b"b"))], platform="linux/s390x")])
    name = push(target, "team/app", "1", both)
    await attach(images, name, b"{}", "text/x-of-index")
    await attach(images, f"{target.address}/team/app@{own.digest}", b"{}", SPDX)
    found = await images.artifacts.referrers(name)
    assert [(one.type, one.subject) for one in found] == [("text/x-of-index", both.digest), (SPDX, own.digest)]
    assert (await images.artifacts.sbom(name)).text == "{}"


async def test_the_fallback_tag_keeps_what_others_listed(tmp_path: Path) -> None:
    with Registry(tmp_path, mode="token") as registry:
        hosts = {registry.address: RegistryHost()}
        images = LocalImages(tmp_path / "data", RegistrySettings(attempts=1, hosts=hosts))
        name = push(registry.target, "team/app", "1", MADE)
        with pytest.raises(Denied):
            await attach(images, name, b"x", SPDX)
        await images.login(registry.address, USERNAME, PASSWORD)
        digests = [(await attach(images, name, str(n).encode(), SPDX))[0] for n in range(3)]
        assert [one.digest for one in await images.artifacts.referrers(name)] == digests


async def test_many_who_attach_at_once_lose_nothing(target: Target, tmp_path: Path) -> None:
    """The real registry takes any write of the tag: what another overwrote is seen, and written again."""
    images = LocalImages(tmp_path / "data", RegistrySettings(attempts=2))
    name = push(target, "team/app", "1", MADE)
    digests = set()

    async def one(text: str) -> None:
        digests.add((await attach(images, name, text.encode(), "text/x-notes"))[0])

    async with anyio.create_task_group() as tasks:
        for at in range(3):
            tasks.start_soon(one, f"note {at}")
    assert len(digests) == 3
    assert {found.digest for found in await images.artifacts.referrers(name)} == digests


async def test_bad_types_and_hostile_lists(tmp_path: Path) -> None:
    images = LocalImages(tmp_path / "data", RegistrySettings(attempts=1))
    with ReferrersRegistry(page=1, elsewhere="127.0.0.1:1") as registry:
        name = push(Target(registry.address), "team/app", "1", MADE)
        for kind in ("", "spdx", "a/b\nc", "a/b c"):
            with pytest.raises(Invalid):
                await attach(images, name, b"x", kind)
        registry.referrers[MADE.digest] = [{"digest": "../../x", "size": 1}, {"digest": 5}, {"size": True}]
        registry.referrers[MADE.digest] += [{"digest": MADE.digest, "size": 1, "annotations": {"half": "\ud800"}}]
        with pytest.raises(Corrupt, match="goes on with its list elsewhere"):
            await images.artifacts.referrers(name)
        registry.page = 10
        assert await images.artifacts.referrers(name) == []
    with pytest.raises(NotFound), Registry(tmp_path) as real:
        await images.artifacts.referrers(f"{real.address}/absent:1")
