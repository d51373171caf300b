"""The daemon's side of the S3 tier: whenever something waits to go into the bucket, a worker process puts it there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from zlayer.image.blobs import BlobStore
from zlayer.image.contract import Progress
from zlayer.image.pull_process import run_job
from zlayer.image.s3.order import Done, KeepOrder
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.shelf import Entry, Shelf
from zlayer.image.s3.standing import Standing
from zlayer.model.errors import ZlayerError
from zlayer.model.units import Bytes, Timestamp

log = structlog.get_logger()

EVERY = 600.0
"""Seconds after which it looks without being told."""
LONGEST = 900.0


class Keeper:
    """`run` until cancelled: then the worker is killed, and what it had begun goes on with the next one."""

    def __init__(self, root: Path, settings: S3Settings, held: Callable[[], Collection[str]] = tuple) -> None:
        """`held`: the digests of the blobs of all images of this node, for a bucket that is new to it."""
        self._root, self._settings, self._held = root, settings, held
        self._shelf = Shelf(root, settings)
        self._woken = anyio.Event()
        self._held_up = ""
        self.done = Done()
        """Since this daemon started."""

    def wake(self) -> None:
        """A pull has ended: something may wait."""
        self._woken.set()

    async def offer(self, digests: Collection[str]) -> None:
        """Blobs of images that came from no registry. Those that are not here in packed form cannot go up."""
        if self._settings.upload:
            await to_thread.run_sync(put_down, self._shelf, BlobStore(self._root / "blobs"), digests)
            self.wake()

    async def standing(self) -> Standing:
        return await to_thread.run_sync(standing, self._shelf, self._held_up)

    async def run(self) -> None:
        failures = 0
        if self._settings.upload and self._shelf.new():
            await self.offer(self._held())
            with suppress(ZlayerError):  # a full disk: once more at the next start
                await to_thread.run_sync(self._shelf.greet)
        while True:
            self._woken = anyio.Event()
            failures = 0 if await self.look() else failures + 1
            if failures:
                await anyio.sleep(min(self._settings.pause * 2 ** (failures - 1), LONGEST))
            else:
                with anyio.move_on_after(EVERY):
                    await self._woken.wait()

    async def look(self) -> bool:
        """Put what waits; whether that went well. What went wrong is logged when it is new."""
        if await to_thread.run_sync(lambda: self._shelf.empty):
            return True
        try:
            found = Done(**await run_job(KeepOrder(self._root, self._settings).document(), self._told))
        except ZlayerError as error:
            if self._held_up != str(error):
                self._held_up = str(error)
                log.warning("s3 failed", bucket=self._settings.name, error=error.message, hint=error.hint)
            return False
        self._held_up = ""
        self.done = _sum(self.done, found)
        if found.sent:
            log.info("s3 kept", bucket=self._settings.name, blobs=found.sent, bytes=found.bytes)
        if found.aborted:
            log.info("s3 ended old uploads", bucket=self._settings.name, uploads=found.aborted)
        return True

    def _told(self, progress: Progress) -> None:
        if progress.phase == "damaged":
            hint = "zlayer image verify --repair"
            log.warning("blob is damaged", digest=progress.digest, hint=hint)


def put_down(shelf: Shelf, blobs: BlobStore, digests: Collection[str]) -> None:
    """For the bucket, save what is not here. What the disk does not take is logged: it is no fault of the image."""
    for digest in digests:
        with suppress(FileNotFoundError):
            size = blobs.path(digest).stat().st_size
            try:
                shelf.put(Entry(digest, size))
            except ZlayerError as error:
                log.warning("s3 gets less", digest=digest, error=error.message)


def standing(shelf: Shelf, held_up: str) -> Standing:
    """How the tier stands, from what is on disk; `held_up` as it is told where something waits."""
    found, waiting, settings = shelf.seen(), list(shelf.waiting()), shelf.settings
    return Standing(
        name=settings.name,
        endpoint=f"{settings.url.scheme}://{settings.url.netloc}",
        state="untried" if found is None else "ok" if found.ok else "failing",
        why=found.why if found is not None else "",
        since=Timestamp(found.since) if found is not None else None,
        waiting=len(waiting),
        waiting_bytes=Bytes(sum(entry.size for entry in waiting)),
        held_up=held_up if waiting else "",
    )


def _sum(one: Done, other: Done) -> Done:
    return Done(
        one.sent + other.sent, one.bytes + other.bytes, one.there + other.there,
        one.gone + other.gone, one.damaged + other.damaged, one.aborted + other.aborted,
    )  # fmt: skip
