"""Space of images (zlayer.api.routes.storage), and which must stay (zlayer.store.pins)."""

from __future__ import annotations

import pytest

from zlayer.model import keys
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.pins import pinned_images
from zlayer.store.view import View
from zlayer.testing.builders import container, deployment, service

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_usage_prune_and_history(stack: StackFactory) -> None:
    async with stack() as s:
        await s.client.request("POST", f"{V1}/images/pull", {"reference": "a:1"})
        usage = (await s.client.request("GET", f"{V1}/system/df")).json()
        assert [one["reference"] for one in usage["images"]] == ["a:1"]
        [tier] = usage["s3"]
        assert (tier["name"], tier["state"]) == ("s3://images/blobs/", "ok")
        assert tier["since"] == "1970-01-01T00:00:01.000000Z"
        assert (tier["waiting"], tier["waiting_bytes"], tier["held_up"]) == (1, 5, "it is refused")
        history = (await s.client.request("GET", f"{V1}/images/history?reference=a:1")).json()
        assert history[0]["by"] == "RUN make"
        trust = (await s.client.request("GET", f"{V1}/images/trust?reference=a:1")).json()
        assert (trust["reference"], trust["allowed"], trust["policy"]) == ("a:1", True, None)
        would = (await s.client.request("POST", f"{V1}/system/prune", {"unused": True, "dry_run": True})).json()
        assert (len(would["pieces"]), would["dry_run"]) == (1, True)
        await s.client.request("POST", f"{V1}/system/prune", {"unused": True})
        assert (await s.client.request("GET", f"{V1}/images")).json() == []
        assert (await s.client.request("POST", f"{V1}/system/prune", {"older_than": -1})).status == 422


async def test_what_a_deployment_or_its_revisions_name_stays() -> None:
    spec = container().model_copy(update={"pin": "sha256:spec"})
    one = deployment("shop", web=service().model_copy(update={"container": spec}))
    ran = one.rollout.model_copy(update={"images": {"web": "sha256:ran"}})
    async with MemoryStore() as store, View(store) as view:
        written = {keys.deployment("shop"): encode(one.model_copy(update={"rollout": ran}))}
        broken = {f"{keys.REVISIONS}shop/7": b"{"}
        await view.reached(await store.commit({**written, **broken}))
        assert await pinned_images(store, view.picture()) == {"sha256:spec", "sha256:ran"}
