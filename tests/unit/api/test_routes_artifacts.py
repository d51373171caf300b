"""What belongs to images at their registries (zlayer.api.routes.artifacts)."""

from __future__ import annotations

import pytest

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
IMAGES = "/api/v1/images"


async def test_attach_list_and_show(stack: StackFactory) -> None:
    async with stack() as s:
        query = "reference=a:1&type=application/spdx%2Bjson"
        done = (await s.client.request("POST", f"{IMAGES}/attach?{query}&name=x", {"spdx": 1})).json()
        assert done["listed"] == "tag"
        [one] = (await s.client.request("GET", f"{IMAGES}/referrers?reference=a:1")).json()
        assert (one["digest"], one["type"]) == (done["digest"], "application/spdx+json")
        assert (await s.client.request("GET", f"{IMAGES}/referrers?reference=a:1&type=x/y")).json() == []
        assert "spdx" in (await s.client.request("GET", f"{IMAGES}/sbom?{query}")).json()["text"]
        assert (await s.client.request("GET", f"{IMAGES}/sbom?reference=b:1")).status == 404
        assert (await s.client.request("POST", f"{IMAGES}/attach?reference=a:1", {})).status == 422
