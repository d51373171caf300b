"""Pulls told as they go, and the images of the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from zlayer.api.pulls import pull
from zlayer.image.contract import Progress
from zlayer.model.errors import NotFound
from zlayer.model.units import Bytes
from zlayer.testing.fake_images import FakeImages

pytestmark = pytest.mark.anyio
REFERENCE = "example.test/app:1"


class Chatty(FakeImages):
    """Reports a thousand steps of two blobs."""

    async def pull(self, reference: str, *, on_progress: Callable[[Progress], None] | None = None, **more: Any) -> Any:
        for step in range(1, 501):
            assert on_progress is not None
            for digest in ("sha256:a", "sha256:b"):
                on_progress(Progress(digest, "done" if step == 500 else "downloading", Bytes(step), Bytes(500)))
            if step % 100 == 0:
                await anyio.lowlevel.checkpoint()
        return await FakeImages.pull(self, reference, **more)


async def test_each_blobs_last_state_is_told_and_not_every_step() -> None:
    told: list[Progress] = []

    async def tell(progress: Progress) -> None:
        told.append(progress)

    image = await pull(Chatty(), REFERENCE, policy="always", platform=None, tell=tell)
    assert image.reference == REFERENCE
    assert {p.digest: p.phase for p in told} == {"sha256:a": "done", "sha256:b": "done"}
    assert len(told) < 100


async def test_the_error_of_a_pull_comes_bare() -> None:
    images = FakeImages()

    def absent(_reference: str) -> None:
        raise NotFound("no such image")

    images.fault = absent

    async def tell(_progress: Progress) -> None:
        raise AssertionError

    with pytest.raises(NotFound):
        await pull(images, REFERENCE, policy="always", platform=None, tell=tell)
