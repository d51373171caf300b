from __future__ import annotations

import pytest

from zlayer.daemon.config import Config
from zlayer.daemon.identity import Choose, forget_others, host_name, identify
from zlayer.model import keys
from zlayer.model.container import ContainerSpec
from zlayer.model.errors import Conflict
from zlayer.model.instance import Instance, Node
from zlayer.model.units import Timestamp
from zlayer.store.contract import Store
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import node

pytestmark = pytest.mark.anyio
KEPT = "10.64.16.0/20"


async def found(store: Store, config: Config | None = None) -> Node:
    return await identify(
        store,
        config or Config(),
        choose=Choose(lambda kept: kept or "10.64.0.0/20", lambda: "fd7a::/48"),
        runtime="oci:runc 1.1",
        platform="linux/amd64",
        now=Timestamp(1),
    )


async def put(store: Store, document: Node | Instance) -> None:
    key = keys.node(document.id) if isinstance(document, Node) else keys.instance(document.id)
    await store.commit({key: document.model_dump_json().encode()})


def used_by(name: str) -> Instance:
    spec = ContainerSpec(image="x")
    return Instance(
        id="shop-web-1-a", deployment="shop", service="web", slot=1, revision=1, spec=spec, digest="d", node=name
    )


async def test_the_first_start_takes_the_host_name_and_a_free_subnet() -> None:
    async with MemoryStore() as store:
        made = await found(store)
        assert (made.id, made.subnet, made.runtime) == (host_name(), "10.64.0.0/20", "oci:runc 1.1")
        assert made.cpus >= 1
        assert made.memory > 1 << 20


async def test_name_and_subnet_are_kept_ever_after() -> None:
    async with MemoryStore() as store:
        await put(store, node("first", subnet=KEPT))
        again = await found(store)
        assert (again.id, again.subnet) == ("first", KEPT)


async def test_they_may_change_while_nothing_depends_on_them() -> None:
    async with MemoryStore() as store:
        await put(store, node("first", subnet=KEPT))
        renamed = await found(store, Config(node_name="second", subnet="10.99.0.0/20"))
        assert (renamed.id, renamed.subnet) == ("second", "10.99.0.0/20")
        await put(store, renamed)
        await forget_others(store, renamed)
        assert [item.key for item in (await store.list(keys.NODES)).items] == [keys.node("second")]


@pytest.mark.parametrize("config", [Config(node_name="second"), Config(subnet="10.99.0.0/20")])
async def test_they_may_not_while_instances_do(config: Config) -> None:
    async with MemoryStore() as store:
        await put(store, node("first", subnet=KEPT))
        await put(store, used_by("first"))
        assert (await found(store)).subnet == KEPT
        with pytest.raises(Conflict) as caught:
            await found(store, config)
        assert "zlayer down" in caught.value.hint


async def test_ipv6_is_kept_while_it_is_used_and_off_when_it_is_turned_off() -> None:
    async with MemoryStore() as store:
        assert (await found(store)).subnet6 == "fd7a::/48"
        assert (await found(store, Config(ipv6=False))).subnet6 == ""
        await put(store, node("first", subnet=KEPT, subnet6="fd01::/48"))
        await put(store, used_by("first"))
        assert (await found(store)).subnet6 == "fd01::/48"


async def test_networks_and_ports_of_an_earlier_name_go_with_it() -> None:
    async with MemoryStore() as store:
        mine, stale = (keys.network(name, "shop") for name in ("first", "old"))
        await store.commit({mine: b"1", stale: b"1", keys.ports("old"): b"1", keys.ports("first"): b"1"})
        await forget_others(store, node("first"))
        left = [item.key for item in (await store.list("/")).items]
        assert left == [mine, keys.ports("first")]
