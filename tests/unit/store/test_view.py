"""Pictures share what did not change."""

from __future__ import annotations

import pytest

from zlayer.model import keys
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.view import View
from zlayer.testing.builders import deployment, service

pytestmark = pytest.mark.anyio


async def test_a_deployment_that_changes_keeps_the_services_that_do_not() -> None:
    async with MemoryStore() as store:
        await store.commit({keys.deployment("shop"): encode(deployment(api=service(), web=service(2)))})
        async with View(store) as view:
            before = view.picture().deployments["shop"].services
            changed = deployment(api=service(), web=service(3))
            await view.reached(await store.commit({keys.deployment("shop"): encode(changed)}))
            after = view.picture().deployments["shop"].services
            assert after["api"] is before["api"]
            assert (before["web"].replicas, after["web"].replicas) == (2, 3)
