"""What every proxy driver must do. Subclass `ProxyContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from zlayer.model.errors import Conflict
from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.proxy.contract import Proxy

HOSTILE = (
    "a b",
    'q"x',
    "semi;colon",
    "new\nline",
    "back\\slash",
    "#hash",
    "per%20cent",
    "ünïcode",
    "$(id)",
    "`id`",
    "<<",
    "'",
)


class Pending(Protocol):
    """A request under way, which the test's replica keeps waiting."""

    async def finish(self) -> bool:
        """Let it be answered; whether it was, in full."""
        ...


class ProxyBench(Protocol):
    """A driver with nothing applied, its `run` going, and replicas of its own. `port` and `other` are free ports."""

    port: int
    other: int

    def proxy(self) -> Proxy: ...
    async def restart(self) -> Proxy:
        """A new driver over the same engine, as after `kill -9` of the daemon."""
        ...

    async def replica(self, name: str) -> Server:
        """A server that answers with its name; its id."""
        ...

    async def ask(self, host: str, path: str = "/", port: int | None = None) -> tuple[int, str]:
        """Status and the name of the replica that answered, if one did; status 0 where nobody listens."""
        ...

    async def hold(self, host: str) -> Pending:
        """A request for `/slow`, which has reached its replica and waits there."""
        ...

    async def kill(self) -> None:
        """The engine dies at once."""
        ...

    async def occupy(self, port: int) -> None:
        """Another program listens on this port of loopback, until the test ends."""
        ...


def table(bench: ProxyBench, *backends: Backend, routes: Sequence[Route] | None = None) -> RouteTable:
    """One http listener; without routes, the first backend gets everything."""
    found = tuple(routes) if routes is not None else (Route(backends[0].name),) if backends else ()
    return RouteTable(1, (Listener("web", ("127.0.0.1",), bench.port, "http", found),), backends)


def backend(name: str, *servers: Server) -> Backend:
    return Backend(f"shop/{name}/http", "http", servers)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is true, for as long as the test may last."""
    while not await check():  # noqa: ASYNC110  # another process changes it, and does not tell
        await anyio.sleep(0.02)


async def conflict(call: Awaitable[None]) -> tuple[str, set[str]]:
    """What the call is refused with as `Conflict`, and whom it concerns; anything else fails the test."""
    try:
        await call
    except Conflict as error:
        return error.message, {one.path for one in error.problems}
    raise AssertionError("nothing was refused, Conflict expected")


class ProxyContract:
    async def test_traffic_flows_when_apply_returns(self, bench: ProxyBench) -> None:
        assert (await bench.proxy().probe()).ok
        one = await bench.replica("one")
        await bench.proxy().apply(table(bench, backend("web", one)))
        assert await bench.ask("shop.test") == (200, "one")

    async def test_nothing_runs_for_an_empty_table(self, bench: ProxyBench) -> None:
        await bench.proxy().apply(RouteTable())
        assert await bench.proxy().stats() == {}
        assert (await bench.ask("shop.test"))[0] == 0

    async def test_each_swap_is_seen_at_once(self, bench: ProxyBench) -> None:
        for number in range(6):
            replica = await bench.replica(f"r{number}")
            await bench.proxy().apply(table(bench, backend("web", replica)))
            assert await bench.ask("shop.test") == (200, f"r{number}")

    async def test_all_servers_get_their_share(self, bench: ProxyBench) -> None:
        servers = [await bench.replica(f"r{number}") for number in range(3)]
        await bench.proxy().apply(table(bench, backend("web", *servers)))
        assert {(await bench.ask("x"))[1] for _ in range(12)} == {"r0", "r1", "r2"}

    async def test_a_weight_of_zero_gets_nothing_new(self, bench: ProxyBench) -> None:
        one, two = await bench.replica("one"), await bench.replica("two")
        off = Server(one.id, one.address, one.port, weight=0)
        await bench.proxy().apply(table(bench, backend("web", one, two)))
        await bench.proxy().apply(table(bench, backend("web", off, two)))
        assert {(await bench.ask("x"))[1] for _ in range(8)} == {"two"}
        await bench.proxy().apply(table(bench, backend("web", one)))
        assert await bench.ask("x") == (200, "one")

    async def test_no_route_and_no_server(self, bench: ProxyBench) -> None:
        await bench.proxy().apply(table(bench, backend("web"), routes=[Route("shop/web/http", "shop.test")]))
        assert (await bench.ask("shop.test"))[0] == 503
        assert (await bench.ask("else.test"))[0] == 404

    async def test_the_most_specific_route_wins(self, bench: ProxyBench) -> None:
        names = ("any", "anyapi", "suffix", "longer", "exact", "exactapi", "deep")
        made = [backend(name, await bench.replica(name)) for name in names]
        routes = [
            Route("shop/any/http"),
            Route("shop/anyapi/http", None, "/api"),
            Route("shop/suffix/http", "*.example.com"),
            Route("shop/longer/http", "*.eu.example.com"),
            Route("shop/exact/http", "shop.example.com"),
            Route("shop/exactapi/http", "shop.example.com", "/api/"),
            Route("shop/deep/http", "shop.example.com", "/api/v1"),
        ]
        await bench.proxy().apply(table(bench, *made, routes=routes))
        for host, path, wanted in (
            ("other.test", "/", "any"), ("other.test", "/api", "anyapi"), ("other.test", "/api/x", "anyapi"),
            ("other.test", "/apiary", "any"), ("example.com", "/", "any"), ("a.example.com", "/", "suffix"),
            ("a.b.example.com", "/api", "suffix"), ("x.eu.example.com", "/", "longer"),
            ("eu.example.com", "/", "suffix"),
            ("shop.example.com", "/", "exact"), ("SHOP.Example.COM:8080", "/", "exact"),
            ("shop.example.com", "/api", "exactapi"), ("shop.example.com", "/api/v1/x?q=/api/v2", "deep"),
            ("shop.example.com", "/api/v10", "exactapi"), ("shop.example.com", "/API", "exact"),
        ):  # fmt: skip
            assert await bench.ask(host, path) == (200, wanted), (host, path)

    async def test_routes_come_and_go(self, bench: ProxyBench) -> None:
        one, two = backend("one", await bench.replica("one")), backend("two", await bench.replica("two"))
        await bench.proxy().apply(table(bench, one, routes=[Route(one.name, "one.test")]))
        assert (await bench.ask("two.test"))[0] == 404
        both = [Route(one.name, "one.test"), Route(two.name, "two.test")]
        await bench.proxy().apply(table(bench, one, two, routes=both))
        assert await bench.ask("two.test") == (200, "two")
        await bench.proxy().apply(table(bench, one, two, routes=[Route(two.name, "one.test")]))
        assert await bench.ask("one.test") == (200, "two")
        assert (await bench.ask("two.test"))[0] == 404

    async def test_a_server_that_left_finishes_what_it_has(self, bench: ProxyBench) -> None:
        one, two = await bench.replica("one"), await bench.replica("two")
        await bench.proxy().apply(table(bench, backend("web", one)))
        pending = await bench.hold("x")
        await bench.proxy().apply(table(bench, backend("web", two)))
        assert await bench.proxy().in_flight(["one", "two", "nobody"]) == {"one": 1, "two": 0, "nobody": 0}
        assert {(await bench.ask("x"))[1] for _ in range(4)} == {"two"}
        assert await pending.finish()

        async def idle() -> bool:
            return await bench.proxy().in_flight(["one"]) == {"one": 0}

        await eventually(idle)

    async def test_a_new_listener_costs_nothing_that_is_under_way(self, bench: ProxyBench) -> None:
        one, two = await bench.replica("one"), await bench.replica("two")
        first = table(bench, backend("web", one))
        await bench.proxy().apply(first)
        pending = await bench.hold("x")
        more = Listener("more", ("127.0.0.1",), bench.other, "http", (Route("shop/web/http"),))
        await bench.proxy().apply(RouteTable(2, (*first.listeners, more), (backend("web", two),)))
        assert await bench.proxy().in_flight(["one"]) == {"one": 1}
        assert await bench.ask("x", port=bench.other) == (200, "two")
        assert await pending.finish()
        await bench.proxy().apply(table(bench, backend("web", two)))
        assert (await bench.ask("x", port=bench.other))[0] == 0

    async def test_a_new_driver_adopts_the_engine(self, bench: ProxyBench) -> None:
        one, two = await bench.replica("one"), await bench.replica("two")
        await bench.proxy().apply(table(bench, backend("web", one)))
        pending = await bench.hold("x")
        again = await bench.restart()
        assert await bench.ask("x") == (200, "one")
        assert await again.in_flight(["one"]) == {"one": 1}
        await again.apply(table(bench, backend("web", two)))
        assert await bench.ask("x") == (200, "two")
        assert await again.in_flight(["one"]) == {"one": 1}
        assert await pending.finish()

    async def test_a_new_driver_may_be_told_what_is_so_already(self, bench: ProxyBench) -> None:
        wanted = table(bench, backend("web", await bench.replica("one")))
        await bench.proxy().apply(wanted)
        pending = await bench.hold("x")
        await (await bench.restart()).apply(wanted)
        assert await bench.ask("x") == (200, "one")
        assert await pending.finish()

    async def test_a_dead_engine_is_started_again_with_the_last_table(self, bench: ProxyBench) -> None:
        await bench.proxy().apply(table(bench, backend("web", await bench.replica("one"))))
        await bench.proxy().apply(table(bench, backend("web", await bench.replica("two"))))
        await bench.kill()

        async def back() -> bool:
            return await bench.ask("x") == (200, "two")

        await eventually(back)

    async def test_an_address_in_use_is_told_and_the_rest_is_served(self, bench: ProxyBench) -> None:
        one = await bench.replica("one")
        await bench.occupy(bench.other)
        first = table(bench, backend("web", one))
        more = Listener("more", ("127.0.0.1",), bench.other, "http", (Route("shop/web/http"),))
        for revision in (1, 2):
            wanted = RouteTable(revision, (*first.listeners, more), first.backends)
            told, whose = await conflict(bench.proxy().apply(wanted))
            assert f"127.0.0.1:{bench.other}" in told
            assert whose == {"shop/web"}
            assert await bench.ask("x") == (200, "one")

    async def test_challenges_are_answered_before_any_route(self, bench: ProxyBench) -> None:
        first = table(bench, backend("web", await bench.replica("one")))
        await bench.proxy().apply(first)
        path = "/.well-known/acme-challenge/tok-1_x"
        assert await bench.ask("x", path) == (200, "one")
        answered = RouteTable(2, first.listeners, first.backends, {}, {"tok-1_x": "tok-1_x.thumb"})
        await bench.proxy().apply(answered)
        assert await bench.ask("x", path) == (200, "tok-1_x.thumb")
        assert await bench.ask("x", path + "y") == (200, "one")
        await bench.proxy().apply(first)
        assert await bench.ask("x", path) == (200, "one")

    async def test_counters(self, bench: ProxyBench) -> None:
        one, two = await bench.replica("one"), await bench.replica("two")
        await bench.proxy().apply(table(bench, backend("web", one), backend("idle", two)))
        for _ in range(5):
            await bench.ask("x")
        pending = await bench.hold("x")
        stats = await bench.proxy().stats()
        assert set(stats) == {"shop/web/http", "shop/idle/http"}
        seen = stats["shop/web/http"]
        assert (seen.requests, seen.servers["one"].total, seen.servers["one"].current) == (6, 6, 1)
        assert seen.servers["one"].state == "up"
        assert (seen.current, seen.errors) == (1, 0)
        assert stats["shop/idle/http"].requests == 0
        await bench.proxy().apply(table(bench, backend("web", two), backend("idle", two)))
        seen = (await bench.proxy().stats())["shop/web/http"]
        assert (set(seen.servers), seen.current) == ({"two"}, 1), "what leaves is under way still"
        assert await pending.finish()

    async def test_the_last_of_many_at_once_wins(self, bench: ProxyBench) -> None:
        made = [await bench.replica(f"r{number}") for number in range(5)]
        async with anyio.create_task_group() as tasks:
            for replica in made[:-1]:
                tasks.start_soon(bench.proxy().apply, table(bench, backend("web", replica)))
        await bench.proxy().apply(table(bench, backend("web", made[-1])))
        assert await bench.ask("x") == (200, "r4")

    async def test_hostile_names_do_no_harm(self, bench: ProxyBench) -> None:
        one = await bench.replica("one")
        await bench.proxy().apply(table(bench, backend("web", one)))
        good = Route("shop/web/http", "good.test")
        for number, text in enumerate(HOSTILE):
            hostile = Backend(f"shop/{text}/http", "http", (Server(f"id-{text}", one.address, one.port),))
            routes = [good, Route(hostile.name, f"{text}.test", f"/{text}"), Route(hostile.name, None, f"/n{number}")]
            made = table(bench, backend("web", one), hostile, routes=routes)
            await bench.proxy().apply(made)
            assert await bench.ask("good.test") == (200, "one"), text
            assert await bench.ask("x", f"/n{number}/y") == (200, "one"), text
            assert (await bench.proxy().stats())[hostile.name].requests == 1

    async def test_destroy_ends_it_and_is_not_the_end(self, bench: ProxyBench) -> None:
        await bench.proxy().destroy()
        wanted = table(bench, backend("web", await bench.replica("one")))
        await bench.proxy().apply(wanted)
        await bench.proxy().destroy()
        await bench.proxy().destroy()
        assert (await bench.ask("x"))[0] == 0
        assert await bench.proxy().stats() == {}
        await bench.proxy().apply(wanted)
        assert await bench.ask("x") == (200, "one")
