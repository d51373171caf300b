from __future__ import annotations

import pytest

from zlayer.agent.homes import Homes
from zlayer.model import keys
from zlayer.model.errors import Unavailable
from zlayer.model.instance import Instance
from zlayer.model.network import Network
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import container, node

pytestmark = pytest.mark.anyio


def instance(address: str | None) -> Instance:
    spec = container()
    return Instance(
        id="a", deployment="shop", service="web", slot=1, revision=1, spec=spec, digest="d", address=address
    )


async def test_the_network_an_address_is_in_with_its_ipv6_or_a_reason_to_wait() -> None:
    async with MemoryStore() as store:
        homes = Homes(store, node(subnet="10.77.0.0/24", subnet6="fd7a::/48"))
        assert await homes.subnet(instance(None)) is None
        with pytest.raises(Unavailable, match="in no network of shop"):
            await homes.subnet(instance("10.77.0.66"))
        shop = Network(node="n1", deployment="shop", number=1, blocks=("10.77.0.64/26",))
        await store.commit({keys.network("n1", "shop"): encode(shop)})
        found = await homes.subnet(instance("10.77.0.66"))
        assert found is not None
        assert (found.number, found.blocks6) == (1, ("fd7a:0:0:1::/64",))
        with pytest.raises(Unavailable):
            await homes.subnet(instance("10.77.0.2"))
