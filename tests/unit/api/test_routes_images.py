"""The images of the node (zlayer.api.routes.images)."""

from __future__ import annotations

import pytest

from zlayer.model.errors import NotFound

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


REFERENCE = "example.test/app:1"


async def test_pull_list_inspect_remove(stack: StackFactory) -> None:
    async with stack() as s:
        body = {"reference": REFERENCE, "policy": "always"}
        pulled = (await s.client.request("POST", "/api/v1/images/pull", body)).lines()
        assert pulled[-1]["image"]["reference"] == REFERENCE
        listed = (await s.client.request("GET", "/api/v1/images")).json()
        assert [one["reference"] for one in listed] == [REFERENCE]
        assert (await s.client.request("GET", f"/api/v1/images/{REFERENCE}")).json()["config"]["cmd"] == ["serve"]
        assert (await s.client.request("DELETE", f"/api/v1/images/{REFERENCE}")).status == 200
        assert (await s.client.request("GET", f"/api/v1/images/{REFERENCE}")).status == 404


async def test_an_image_in_use_stays(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        assert (await s.client.request("DELETE", f"/api/v1/images/{REFERENCE}")).status == 409


async def test_a_pull_that_fails_says_why_in_the_stream(stack: StackFactory) -> None:
    async with stack() as s:

        def absent(reference: str) -> None:
            raise NotFound(f"no image {reference}", hint="spell it right")

        s.images.fault = absent
        [line] = (await s.client.request("POST", "/api/v1/images/pull", {"reference": REFERENCE})).lines()
        assert (line["error"]["code"], line["error"]["hint"]) == ("not_found", "spell it right")


async def test_verify_tells_and_repairs_what_is_not_in_use(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        await s.client.request("POST", f"{V1}/images/pull", {"reference": "other:1"})
        s.images.damaged |= {REFERENCE, "other:1"}
        lines = (await s.client.request("POST", f"{V1}/images/verify", {})).lines()
        assert {line["phase"] for line in lines[:-1]} == {"checking"}
        found = lines[-1]["verified"]
        assert [(one["state"], one["bad"]) for one in found["faults"]] == [("found", True)] * 2
        body = {"references": [REFERENCE, "other:1"], "repair": True}
        mended = (await s.client.request("POST", f"{V1}/images/verify", body)).lines()[-1]["verified"]
        assert {one["images"][0]: one["state"] for one in mended["faults"]} == {
            REFERENCE: "stayed", "other:1": "repaired",
        }  # fmt: skip


async def test_a_pull_may_be_slowed(stack: StackFactory) -> None:
    async with stack() as s:
        await s.client.request("POST", f"{V1}/images/pull", {"reference": REFERENCE, "limit_rate": 1000})
        await s.client.request("POST", f"{V1}/images/pull", {"reference": REFERENCE})
        assert s.images.limits[-2:] == [1000, None]
        assert (await s.client.request("POST", f"{V1}/images/pull", {"reference": "a", "limit_rate": -1})).status == 422
