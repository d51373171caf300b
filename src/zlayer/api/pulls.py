"""A pull or push with its progress told as it goes: the newest state of each blob, at most ten times a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import anyio

from zlayer.image.contract import Image, Images, Progress, Pushed, Verified
from zlayer.image.parcel_contract import Parcel
from zlayer.model.container import PullPolicy
from zlayer.model.errors import ZlayerError
from zlayer.model.units import Bytes

T = TypeVar("T")
PAUSE = 0.1
InUse = Callable[[], Collection[str]]
OnBlob = Callable[[Progress], Awaitable[None]]


async def pull(
    images: Images,
    reference: str,
    *,
    policy: PullPolicy,
    platform: str | None,
    tell: OnBlob,
    limit_rate: Bytes | None = None,
) -> Image:
    """As `Images.pull`. `tell` hears of every blob at least once after its last change."""
    work = partial(images.pull, reference, policy=policy, platform=platform, limit_rate=limit_rate)
    return await _told(work, tell)


async def push(images: Images, source: str, target: str, *, tell: OnBlob) -> Pushed:
    """As `Images.push`, and told as a pull is."""
    return await _told(partial(images.push, source, target), tell)


async def accept(images: Images, parcel: Parcel, *, tell: OnBlob) -> Image:
    """As `Parcels.accept`, and told as a pull is."""
    return await _told(partial(images.parcels.accept, parcel), tell)


async def verify(images: Images, references: Sequence[str], *, repair: bool, in_use: InUse, tell: OnBlob) -> Verified:
    """As `Upkeep.verify`, and told as a pull is."""
    return await _told(partial(images.upkeep.verify, references, repair=repair, in_use=in_use), tell)


async def _told(work: Callable[..., Awaitable[T]], tell: OnBlob) -> T:
    latest: dict[str, Progress] = {}
    news = anyio.Event()
    done: list[T] = []
    failure: ZlayerError | None = None

    def on_progress(progress: Progress) -> None:
        latest[progress.digest] = progress
        news.set()

    async def drain() -> None:
        while latest:
            await tell(latest.pop(next(iter(latest))))

    async def report() -> None:
        nonlocal news
        while True:
            await news.wait()
            news = anyio.Event()
            await drain()
            await anyio.sleep(PAUSE)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(report)
        try:
            done.append(await work(on_progress=on_progress))
        except ZlayerError as error:  # raised below: a task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    await drain()
    return done[0]
