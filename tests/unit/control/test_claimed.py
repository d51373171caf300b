"""Two deployments that want one port: the second is refused, whichever way it comes to want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from zlayer.control.claimed import running
from zlayer.control.wishes import Wishes
from zlayer.model import keys
from zlayer.model.errors import Conflict, Unavailable
from zlayer.proxy.contract import ProxyProbe
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import deployment, service, spec_text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as opened:
        yield opened


@pytest.fixture
def wishes(store: MemoryStore) -> Wishes:
    return Wishes(store, environ={}, clock=lambda: 1000.0)


def public(port: int = 80, **fields: Any) -> dict[str, Any]:
    return {"endpoints": [{"name": "http", "protocol": "http", "port": port, "expose": True, **fields}]}


async def test_the_second_is_refused_and_told_by_whom(store: MemoryStore, wishes: Wishes) -> None:
    await wishes.deploy(spec_text("shop", web=public()))
    for wish in (wishes.plan, wishes.deploy):
        with pytest.raises(Conflict, match="port 80/tcp for any host is taken: endpoint 'http' of shop/web") as caught:
            await wish(spec_text("blog", front=public()))
        assert caught.value.hint.endswith("zlayer down shop")
        assert [one.path for one in caught.value.problems] == ["services.front.endpoints.0"]
    assert await store.get(keys.deployment("blog")) is None


async def test_hosts_share_a_port_and_networks_have_their_own(wishes: Wishes) -> None:
    await wishes.deploy(spec_text("shop", web=public(host="shop.test"), api=public(expose=False, port=81)))
    await wishes.deploy(spec_text("blog", web=public(host="blog.test"), api=public(expose=False, port=81)))


async def test_published_ports_are_had_by_one_too(wishes: Wishes) -> None:
    mapped = {"port_mappings": [{"host_port": 8080, "container_port": 80}]}
    await wishes.deploy(spec_text("shop", web=mapped))
    with pytest.raises(Conflict, match="port mapping 1 of shop/web has it"):
        await wishes.deploy(spec_text("blog", web=mapped))
    with pytest.raises(Conflict, match="8080"):
        await wishes.deploy(spec_text("blog", web=public(8080)))


async def test_what_is_stopped_or_going_has_no_port_and_may_not_get_it_back(wishes: Wishes) -> None:
    await wishes.deploy(spec_text("shop", web=public()))
    await wishes.stop("shop", "web")
    await wishes.deploy(spec_text("blog", web=public()))
    with pytest.raises(Conflict, match="blog/web"):
        await wishes.start("shop", "web")
    await wishes.remove("blog")
    await wishes.start("shop", "web")


async def test_nobody_goes_back_to_a_port_that_another_has(wishes: Wishes) -> None:
    await wishes.deploy(spec_text("shop", web=public()))
    await wishes.deploy(spec_text("shop", web=public(81)))
    await wishes.deploy(spec_text("blog", web=public()))
    with pytest.raises(Conflict, match="blog/web"):
        await wishes.updates.rollback("shop", 1)
    await wishes.deploy(spec_text("shop", web={**public(81), "env": {"NEW": "1"}}))


async def test_of_two_at_once_one_has_it(wishes: Wishes) -> None:
    refused: list[str] = []

    async def deploy(name: str) -> None:
        try:
            await wishes.deploy(spec_text(name, web=public()))
        except Conflict:
            refused.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(deploy, f"shop-{number}")
    assert len(refused) == 7


async def test_without_a_proxy_endpoints_are_refused_at_once(store: MemoryStore) -> None:
    found = [ProxyProbe(False, "haproxy", "HAProxy is not installed", "apt-get install haproxy")]

    async def probe() -> ProxyProbe:
        return found[-1]

    wishes = Wishes(store, environ={}, clock=lambda: 1.0, proxy=probe)
    await wishes.deploy(spec_text("plain", web={}))
    for wish in (wishes.plan, wishes.deploy):
        with pytest.raises(Unavailable, match="endpoints of web cannot be served: HAProxy is not installed") as caught:
            await wish(spec_text("shop", web=public()))
        assert caught.value.hint == "apt-get install haproxy"
    assert await store.get(keys.deployment("shop")) is None
    udp = public(protocol="udp")
    await wishes.deploy(spec_text("games", web=udp))
    found.append(ProxyProbe(True, "haproxy 2.6"))
    await wishes.deploy(spec_text("shop", web=public()))


def test_services_wanted_to_run() -> None:
    wanted = deployment(web=service(), off=service(stopped=True))
    assert list(running(wanted)) == ["web"]
    assert running(wanted.model_copy(update={"desired": "stopped"})) == {}
