"""A network in memory, held to the same suite as the bridge. Its state lives in a `FakeFabric`, as in a kernel."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel

from zlayer.model.errors import Invalid
from zlayer.network.contract import Attachment

When = Literal["before", "after"]


@dataclass(slots=True)
class FakeFabric:
    """Shared by every `FakeNetwork` of one node: what a daemon restart does not take away. Tests count on it.

    `fault` is called with (operation, owner, "before" | "after") around every effect and may raise.
    """

    subnet: str = "10.64.0.0/20"
    run: Path = Path("/fake/run")
    attach_seconds: float = 0.0
    fault: Callable[[str, str, When], None] = lambda _operation, _owner, _when: None
    attached: dict[str, str | None] = field(default_factory=dict)
    """Owner -> address, for every namespace there is."""
    ready: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(operation, owner) in order, as they took effect."""
    attaches: Counter[str] = field(default_factory=Counter)
    clashes: list[tuple[str, str, str]] = field(default_factory=list)
    """(address, holder, newcomer) of every address given while another still had it: a bug of the caller."""

    def took(self, operation: str, owner: str) -> None:
        self.calls.append((operation, owner))


@dataclass(slots=True)
class FakeNetwork:
    """Implements `Network` over a `FakeFabric`. Make a second one over the same fabric to restart the daemon."""

    fabric: FakeFabric = field(default_factory=FakeFabric)

    async def ensure(self) -> None:
        self.fabric.fault("ensure", "", "before")
        await anyio.lowlevel.checkpoint()
        self.fabric.ready = True
        self.fabric.fault("ensure", "", "after")

    async def attach(self, owner: str, address: str | None) -> Attachment:
        fabric = self.fabric
        network = ipaddress.IPv4Network(fabric.subnet)
        gateway = str(network.network_address + 1)
        if not owner or owner.startswith(".") or "/" in owner or len(owner) > 200:
            raise Invalid(f"{owner!r} cannot name a network namespace")
        if address is not None and not _usable(network, address):
            raise Invalid(f"{address} is no address for a container in {network}")
        fabric.fault("attach", owner, "before")
        await anyio.sleep(fabric.attach_seconds)
        fabric.ready = True
        if owner not in fabric.attached or fabric.attached[owner] != address:
            self._note_clash(owner, address)
            fabric.attached[owner] = address
            fabric.attaches[owner] += 1
            fabric.took("attach", owner)
        fabric.fault("attach", owner, "after")
        return Attachment(owner, fabric.run / "netns" / owner, address, gateway if address else None)

    def _note_clash(self, owner: str, address: str | None) -> None:
        for holder, held in self.fabric.attached.items():
            if address is not None and held == address and holder != owner:
                self.fabric.clashes.append((address, holder, owner))

    async def detach(self, owner: str) -> None:
        self.fabric.fault("detach", owner, "before")
        await anyio.lowlevel.checkpoint()
        if owner in self.fabric.attached:
            del self.fabric.attached[owner]
            self.fabric.took("detach", owner)
        self.fabric.fault("detach", owner, "after")

    async def list(self) -> Sequence[str]:
        return sorted(self.fabric.attached)

    async def destroy(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.fabric.attached.clear()
        self.fabric.ready = False


def _usable(network: ipaddress.IPv4Network, address: str) -> bool:
    try:
        given = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    reserved = (network.network_address, network.network_address + 1, network.broadcast_address)
    return given in network and given not in reserved
