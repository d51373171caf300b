"""From one node's store to another's (zlayer.image.parcels): what is missing, from any offset, and what is refused."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Image, Want
from zlayer.image.local import LocalImages
from zlayer.image.parcel_contract import Parcel, Part
from zlayer.image.settings import RegistrySettings
from zlayer.image.trust_rules import Rule
from zlayer.model.errors import Conflict, Corrupt, Denied, Exhausted, Invalid, NotFound, Unavailable
from zlayer.model.units import Bytes
from zlayer.testing.imagery import OciImage, OciIndex, index
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.registry import Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]


async def pulled(tmp_path: Path, what: OciImage | OciIndex, tag: str = "1") -> tuple[LocalImages, Image]:
    images = LocalImages(tmp_path / "here", RegistrySettings(attempts=1))
    with Registry(tmp_path) as registry:
        return images, await images.pull(push(registry.target, "a", tag, what))


def other(tmp_path: Path, *rules: Rule) -> LocalImages:
    return LocalImages(tmp_path / "there", rules=rules)


async def bytes_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def whole(images: LocalImages, digest: str, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in images.parcels.read(digest, offset)])


async def sent(here: LocalImages, there: LocalImages, parcel: Parcel) -> int:
    """What moved, in bytes."""
    moved = 0
    for part in await there.parcels.missing(parcel):
        assert await there.parcels.take(part, here.parcels.read(part.digest, part.here)) == part.size
        moved += part.size - part.here
    return moved


async def test_an_image_arrives_as_it_was_and_shared_layers_stay_at_home(tmp_path: Path) -> None:
    here, one = await pulled(tmp_path, busybox_image())
    there = other(tmp_path)
    parcel = await here.parcels.parcel(one.reference)
    assert await sent(here, there, parcel) == sum(part.size for part in parcel.parts)
    back = await there.parcels.accept(parcel)
    assert replace(back, pulled_at=one.pulled_at) == one
    assert not there.parcels.expecting
    assert [image.digest for image in await other(tmp_path).list()] == [one.digest]
    _, two = await pulled(tmp_path, busybox_image(files={"new": os.urandom(50_000)}), "2")
    more = await (here := LocalImages(tmp_path / "here")).parcels.parcel(two.reference)
    new = {part.digest for part in more.parts} - {part.digest for part in parcel.parts}
    assert await sent(here, there, more) == sum(part.size for part in more.parts if part.digest in new)
    assert (await there.parcels.accept(more)).layers == two.layers
    assert await there.parcels.missing(more) == []


async def test_of_an_index_the_same_image_is_chosen(tmp_path: Path) -> None:
    made = index([busybox_image({"Cmd": ["a"]}), busybox_image({"Cmd": ["b"]}, platform="linux/s390x")])
    here, _ = await pulled(tmp_path, made)
    with Registry(tmp_path) as registry:
        one = await here.pull(push(registry.target, "b", "1", made), platform="linux/s390x")
    there = other(tmp_path)
    parcel = await here.parcels.parcel(one.reference)
    await sent(here, there, parcel)
    back = await there.parcels.accept(parcel)
    assert (back.digest, back.index_digest, back.config.cmd) == (one.digest, made.digest, ("b",))


async def test_it_goes_on_from_where_it_broke_off(tmp_path: Path) -> None:
    here, one = await pulled(tmp_path, busybox_image(files={"big": os.urandom(3 << 20)}))
    there = other(tmp_path)
    parcel = await here.parcels.parcel(one.reference)
    big = max(await there.parcels.missing(parcel), key=lambda part: part.size)
    body = await whole(here, big.digest)

    async def broken() -> AsyncIterator[bytes]:
        yield body[: 2 << 20]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await there.parcels.take(big, broken())
    assert await there.parcels.take(replace(big, here=Bytes(2 << 20)), bytes_of(b"")) == 2 << 20
    with pytest.raises(Conflict):
        await there.parcels.take(big, bytes_of(body))
    again = other(tmp_path)  # as after a kill
    [left] = [part for part in await again.parcels.missing(parcel) if part.digest == big.digest]
    assert left.here == 2 << 20
    assert await again.parcels.take(left, here.parcels.read(big.digest, left.here)) == big.size
    assert await again.parcels.take(big, bytes_of(body)) == big.size  # there already
    await sent(here, again, parcel)
    assert (await again.parcels.accept(parcel)).layers == one.layers


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_wrong_bytes_leave_nothing(tmp_path: Path, algorithm: str) -> None:
    there = other(tmp_path)
    digest = f"{algorithm}:{hashlib.new(algorithm, b'right').hexdigest()}"
    for pieces in ((b"wrong",), (b"right", b"and more"), (b"r", b"ong", b"!")):
        with pytest.raises(Corrupt):
            await there.parcels.take(Part(digest, Bytes(5)), bytes_of(*pieces))
    assert not [path for path in (tmp_path / "there" / "blobs").rglob("*") if path.is_file()]
    assert await there.parcels.take(Part(digest, Bytes(5)), bytes_of(b"ri", b"ght")) == 5


async def test_one_takes_a_blob_in_at_a_time(tmp_path: Path) -> None:
    there = other(tmp_path)
    part = Part(f"sha256:{hashlib.sha256(b'ab').hexdigest()}", Bytes(2))
    begun, more = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        begun.set()
        yield b"a"
        await more.wait()
        yield b"b"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.parcels.take, part, slow())
        await begun.wait()
        with pytest.raises(Unavailable) as told:
            await there.parcels.take(part, bytes_of(b"ab"))
        assert told.value.retry_after == 1
        assert there.parcels.expecting
        more.set()
    assert await whole_of(there, part.digest) == b"ab"


async def whole_of(images: LocalImages, digest: str) -> bytes:
    with pytest.raises(NotFound):  # no image stands on it: it is nobody's to read
        await whole(images, digest)
    return images.parcels._blobs.path(digest).read_bytes()


async def test_a_name_must_not_lie_and_nothing_may_lack(tmp_path: Path) -> None:
    here, one = await pulled(tmp_path, busybox_image())
    there = other(tmp_path)
    parcel = await here.parcels.parcel(one.reference)
    with pytest.raises(Conflict, match="is not here"):
        await there.parcels.accept(parcel)
    await sent(here, there, parcel)
    with pytest.raises(Invalid, match="another digest"):
        await there.parcels.accept(replace(parcel, reference=f"a@sha256:{'0' * 64}"))
    with pytest.raises(Corrupt):
        await there.parcels.accept(replace(parcel, digest=f"sha256:{'0' * 64}"))
    assert await there.list() == []
    with pytest.raises(Invalid):
        await there.parcels.missing(replace(parcel, reference="NO NAME"))


async def test_what_a_policy_refuses_by_name_is_not_sent(tmp_path: Path) -> None:
    here, one = await pulled(tmp_path, busybox_image())
    parcel = await here.parcels.parcel(one.reference)
    for require in ("refuse", "digest"):
        there = other(tmp_path, Rule("*", require))
        with pytest.raises(Denied):
            await there.parcels.missing(parcel)
        with pytest.raises(Denied):
            await there.parcels.accept(parcel)


async def test_no_room_is_told_before_a_byte_goes(tmp_path: Path) -> None:
    there = other(tmp_path)
    part = Part(f"sha256:{'0' * 64}", Bytes(1 << 60))
    with pytest.raises(Exhausted, match="free"):
        await there.parcels.missing(Parcel("a", part.digest, "", "", (part,)))
    with pytest.raises(Exhausted, match="free"):
        await there.parcels.take(part, bytes_of(b"x"))


async def test_what_has_arrived_waits_for_the_rest_and_not_for_ever(tmp_path: Path) -> None:
    here, one = await pulled(tmp_path, busybox_image(files={"big": os.urandom(2 << 20)}))
    there = other(tmp_path)
    now = 1000.0
    there.parcels._now = lambda: now
    parcel = await here.parcels.parcel(one.reference)
    parts = sorted(await there.parcels.missing(parcel), key=lambda part: part.size)
    for part in parts[:-1]:
        await there.parcels.take(part, here.parcels.read(part.digest))
    await there.parcels.take(parts[-1], bytes_of((await whole(here, parts[-1].digest))[: 1 << 20]))
    assert await there.stock.reclaim([], Want(unused=True)) == []
    now += 601
    gone = await there.stock.reclaim([], Want(unused=True))
    assert {piece.name for piece in gone} == {part.digest for part in parts}
    assert not [path for path in (tmp_path / "there" / "blobs").rglob("*") if path.is_file()]


async def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    there = other(tmp_path)
    piece = bytes(1 << 18)
    count = 512  # 128 MiB
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)

    async def many() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(piece)

    tracemalloc.start()
    try:
        part = Part(f"sha256:{digest.hexdigest()}", Bytes(count * len(piece)))
        assert await there.parcels.take(part, many()) == part.size
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
