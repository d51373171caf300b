from __future__ import annotations

import pytest

from zlayer.agent.fabric import forwarded, network_plane
from zlayer.model import keys
from zlayer.model.base import Document
from zlayer.model.endpoint import PublishedPort
from zlayer.model.fabric import Forward, Target
from zlayer.model.instance import Instance, State
from zlayer.model.network import Network, Ports
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.view import View
from zlayer.testing.builders import container, deployment, node, service, status
from zlayer.testing.fake_network import FakeNetwork

pytestmark = pytest.mark.anyio
SPEC = container()
WEB = Instance(
    id="web-1",
    deployment="shop",
    service="web",
    slot=1,
    revision=1,
    spec=SPEC,
    digest=SPEC.digest(),
    node="n1",
    address="10.77.0.2",
)
DOCUMENTS: dict[str, Document] = {
    keys.deployment("shop"): deployment(web=service(ports=(PublishedPort(container_port=80),))),
    keys.instance("web-1"): WEB,
    keys.status("web-1"): status(WEB, State.READY),
    keys.network("n1", "shop"): Network(node="n1", deployment="shop", number=0, blocks=("10.77.0.0/26",)),
    keys.ports("n1"): Ports(node="n1", given={"shop/web/80/tcp/": 20001}),
}


async def test_the_plane_derives_the_whole_fabric_from_a_picture_and_applies_it() -> None:
    async with MemoryStore() as store:
        await store.commit({key: encode(one) for key, one in DOCUMENTS.items()})
        async with View(store) as view:
            network = FakeNetwork()
            plane = network_plane(node(), network)
            derived = plane.derive(view.picture())
            await plane.apply(derived.table)
            assert derived.members == {"web-1"}
            assert network.fabric.applied.forwards == (Forward("tcp", 20001, "", (Target("web-1", "10.77.0.2", 80),)),)
            held = network_plane(node(), network, lambda _: frozenset({"web-1"})).derive(view.picture())
            assert held.members == frozenset()


async def test_connections_are_counted_by_instance() -> None:
    async with MemoryStore() as store:
        await store.commit({key: encode(one) for key, one in DOCUMENTS.items()})
        async with View(store) as view:
            network = FakeNetwork()
            network.fabric.living = {"10.77.0.2": 3, "10.77.0.9": 1}
            assert await forwarded(view, network)(["web-1", "gone"]) == {"web-1": 3}


async def test_what_becomes_of_instances_concerns_the_kernel_only_where_ports_are_forwarded() -> None:
    async with MemoryStore() as store:
        await store.commit({key: encode(one) for key, one in DOCUMENTS.items()})
        async with View(store) as view:
            plane = network_plane(node(), FakeNetwork())

            async def same_after(instance: Instance, state: State) -> bool:
                before = plane.made_of(view.picture())
                await view.reached(await store.commit({keys.status(instance.id): encode(status(instance, state))}))
                after = plane.made_of(view.picture())
                return len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))

            assert not await same_after(WEB, State.EXITED)
            plain = deployment(web=service())
            await view.reached(await store.commit({keys.deployment("shop"): encode(plain)}))
            assert await same_after(WEB, State.READY)
