"""Images from node to node (zlayer.api.routes.parcels, zlayer.api.arriving), over zlayer.testing.fake_parcels."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from zlayer.api import arriving
from zlayer.model.errors import Deadline
from zlayer.testing.asgi import Message

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
IMAGES = "/api/v1/images"


def parcel(body: bytes) -> dict[str, Any]:
    digest = f"sha256:{sha256(body).hexdigest()}"
    return {
        "reference": "a:1", "digest": digest, "index_digest": "", "platform": "linux/amd64",
        "parts": [{"digest": digest, "size": len(body)}],
    }  # fmt: skip


async def test_what_is_missing_goes_in_and_becomes_an_image(stack: StackFactory) -> None:
    async with stack() as s:
        wanted = parcel(b"abcdef")
        [part] = (await s.client.request("POST", f"{IMAGES}/missing", wanted)).json()["missing"]
        assert part == {**wanted["parts"][0], "here": 0}
        target = f"{IMAGES}/blobs?digest={part['digest']}&size=6"
        assert (await s.client.request("POST", f"{target}&offset=0", b"abc")).json()["here"] == 3
        assert (await s.client.request("POST", f"{target}&offset=0", b"abc")).status == 409
        assert (await s.client.request("POST", f"{target}&offset=3", b"def")).json()["here"] == 6
        assert (await s.client.request("POST", f"{IMAGES}/missing", wanted)).json()["missing"] == []
        lines = (await s.client.request("POST", f"{IMAGES}/accept", wanted)).lines()
        assert [lines[0]["phase"], lines[-1]["image"]["reference"]] == ["done", "a:1"]
        out = (await s.client.request("GET", f"{IMAGES}/parcel?reference=a:1")).json()
        digest = out["parts"][0]["digest"]
        assert (await s.client.request("GET", f"{IMAGES}/blobs?digest={digest}&offset=2")).body == b"1"
        absent = f"sha256:{'0' * 64}"
        assert (await s.client.request("GET", f"{IMAGES}/blobs?digest={absent}")).status == 404
        assert (await s.client.request("GET", f"{IMAGES}/parcel?reference=b:1")).status == 404
        early = (await s.client.request("POST", f"{IMAGES}/accept", parcel(b"never sent"))).lines()
        assert early[-1]["error"]["code"] == "conflict"


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "latest"}, {"index_digest": "x"}, {"parts": []}, {"reference": "a" * 5000}, {"more": 1},
        {"parts": [{"digest": "sha256:../../etc", "size": 1}]},
        {"parts": [{"digest": f"sha256:{'0' * 64}", "size": -1}]},
        {"parts": [{"digest": f"sha256:{'0' * 64}\n", "size": 1}]},
    ],
)  # fmt: skip
async def test_a_bad_parcel_is_refused(stack: StackFactory, change: dict[str, Any]) -> None:
    async with stack() as s:
        for what in ("missing", "accept"):
            assert (await s.client.request("POST", f"{IMAGES}/{what}", {**parcel(b"a"), **change})).status == 422


@pytest.mark.parametrize("query", ["digest=x&size=1", f"digest=sha256:{'0' * 64}&size=-1", f"digest=sha256:{'0' * 64}"])
async def test_a_bad_blob_is_refused(stack: StackFactory, query: str) -> None:
    async with stack() as s:
        assert (await s.client.request("POST", f"{IMAGES}/blobs?{query}", b"x")).status == 422


async def test_a_blob_may_be_longer_than_any_other_body(stack: StackFactory) -> None:
    async with stack() as s:
        body = bytes(9 << 20)
        digest = f"sha256:{sha256(body).hexdigest()}"
        reply = await s.client.request("POST", f"{IMAGES}/blobs?digest={digest}&size={len(body)}", body)
        assert reply.json()["here"] == len(body)
        wrong = await s.client.request("POST", f"{IMAGES}/blobs?digest=sha256:{'0' * 64}&size=3", b"abc")
        assert (wrong.status, wrong.json()["code"]) == (500, "corrupt")


async def test_who_is_silent_is_let_go() -> None:
    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(Deadline):
        await arriving.Arriving(request, silence=0.01).drain()
