"""Long bodies through pipes: all of them arrive, errors are told, and no descriptor is left (zlayer.api.pipes)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.api.pipes import pipe

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
IMAGES = "/api/v1/images"


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are wanted


def test_an_end_is_closed_once() -> None:
    with pipe() as (read, write):
        os.write(write.descriptor, b"x")
        write.close()
        other = os.open("/dev/null", os.O_RDONLY)  # gets the number that has just become free
        write.close()
        os.fstat(other)
        assert os.read(read.descriptor, 10) == b"x"
        assert os.read(read.descriptor, 10) == b""
    os.close(other)


async def test_images_go_out_and_come_in(stack: StackFactory) -> None:
    async with stack() as s:
        before = descriptors()
        await s.client.request("POST", f"{IMAGES}/pull", {"reference": "a:1"})
        out = await s.client.request("GET", f"{IMAGES}/export?reference=a:1")
        assert (out.status, out.body[:7]) == (200, b"sha256:")
        absent = await s.client.request("GET", f"{IMAGES}/export?reference=absent")
        assert absent.status == 404
        refused = await s.client.request("POST", f"{IMAGES}/import", {"any": "body"})
        assert refused.status == 422
        [made] = (await s.client.request("POST", f"{IMAGES}/import?name=b:1", {"any": "body"})).json()
        assert made["reference"] == "b:1"
        assert len(descriptors()) <= len(before)


def test_the_pages_are_there() -> None:
    assert "/api/v1/images/import" in (Path(__file__).parents[3] / "docs" / "reference-api.md").read_text()
