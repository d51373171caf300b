"""A name server in memory, held to the same suite as the real one. Its state is a `FakeNames`, as in a process."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio.lowlevel

from zlayer.model.zone import Zone


@dataclass(slots=True)
class FakeNames:
    """What outlives a daemon. `applied` counts tables that changed something."""

    zone: Zone | None = None
    applied: int = 0
    history: list[Zone] = field(default_factory=list)

    def lookup(self, network: str, name: str) -> tuple[str, ...] | None:
        """Addresses of a name asked for in a network; None: no such name, or nobody listens."""
        views = self.zone.views if self.zone is not None else ()
        view = next((one for one in views if one.network == network), None)
        found = view.names.get(name) if view is not None else None
        return None if found is None else tuple(found)


@dataclass(slots=True)
class FakeNameServer:
    """Implements `NameServer` over a `FakeNames`."""

    names: FakeNames = field(default_factory=FakeNames)

    async def apply(self, zone: Zone) -> None:
        await anyio.lowlevel.checkpoint()
        if zone != self.names.zone:
            self.names.zone = zone
            self.names.applied += 1
            self.names.history.append(zone)

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def destroy(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.names.zone = None
