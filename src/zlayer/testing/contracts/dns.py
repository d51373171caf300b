"""What every name server driver must do. Subclass `NameServerContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

from typing import Protocol

from zlayer.model.zone import View, Zone
from zlayer.network.dns.contract import NameServer


class NameServerBench(Protocol):
    """A driver with nothing applied. `restart` gives a new driver over the same directory, as a new daemon has."""

    listen: tuple[str, ...]
    """Addresses of this machine that nobody else serves."""

    def server(self) -> NameServer: ...
    async def restart(self) -> NameServer: ...
    async def lookup(self, listen: str, name: str) -> tuple[str, ...] | None:
        """IPv4 addresses; None when the name does not exist or nobody answers."""
        ...


def one_view(listen: str, **names: tuple[str, ...]) -> Zone:
    return Zone(views=(View("shop", (listen,), {f"{k}.service.local": v for k, v in names.items()}),))


class NameServerContract:
    async def test_what_is_applied_is_answered(self, bench: NameServerBench) -> None:
        here = bench.listen[0]
        await bench.server().apply(one_view(here, web=("10.64.0.2",)))
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.2",)
        await bench.server().apply(one_view(here, web=("10.64.0.3",)))
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.3",)

    async def test_a_name_without_addresses_is_there_and_others_are_not(self, bench: NameServerBench) -> None:
        here = bench.listen[0]
        await bench.server().apply(one_view(here, web=()))
        assert await bench.lookup(here, "web.service.local") == ()
        assert await bench.lookup(here, "other.service.local") is None

    async def test_views_do_not_see_each_other(self, bench: NameServerBench) -> None:
        one, two = bench.listen[:2]
        views = (View("a", (one,), {"web.service.local": ("10.64.0.2",)}), View("b", (two,), {}))
        await bench.server().apply(Zone(views=views))
        assert await bench.lookup(one, "web.service.local") == ("10.64.0.2",)
        assert await bench.lookup(two, "web.service.local") is None

    async def test_it_goes_on_when_the_driver_is_closed_and_a_new_one_adopts_it(self, bench: NameServerBench) -> None:
        here = bench.listen[0]
        await bench.server().apply(one_view(here, web=("10.64.0.2",)))
        again = await bench.restart()
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.2",)
        await again.apply(one_view(here, web=("10.64.0.4",)))
        assert await bench.lookup(here, "web.service.local") == ("10.64.0.4",)

    async def test_a_view_that_goes_takes_its_answers_along(self, bench: NameServerBench) -> None:
        here = bench.listen[0]
        await bench.server().apply(one_view(here, web=("10.64.0.2",)))
        await bench.server().apply(Zone())
        assert await bench.lookup(here, "web.service.local") is None

    async def test_destroy_twice_and_then_again(self, bench: NameServerBench) -> None:
        here = bench.listen[0]
        await bench.server().destroy()
        await bench.server().apply(one_view(here, web=("10.64.0.2",)))
        await bench.server().destroy()
        await bench.server().destroy()
        assert await bench.lookup(here, "web.service.local") is None
