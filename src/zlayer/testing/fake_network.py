"""A network in memory, held to the same suite as the bridge. Its state lives in a `FakeFabric`, as in a kernel."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel

from zlayer.model.addressing import address6, block_of, gateway
from zlayer.model.errors import Conflict, Invalid, NotFound, Problem
from zlayer.model.fabric import Fabric, Subnet
from zlayer.network.contract import Attachment

When = Literal["before", "after"]


@dataclass(slots=True)
class FakeFabric:
    """Shared by every `FakeNetwork` of one node: what a daemon restart does not take away. Tests count on it.

    `fault` is called with (operation, owner, "before" | "after") around every effect and may raise.
    """

    run: Path = Path("/fake/run")
    attach_seconds: float = 0.0
    fault: Callable[[str, str, When], None] = lambda _operation, _owner, _when: None
    attached: dict[str, str | None] = field(default_factory=dict)
    """Owner -> address, for every namespace there is."""
    homes: dict[str, Subnet] = field(default_factory=dict)
    """Owner -> the subnet it is attached to."""
    ready: bool = False
    applied: Fabric = field(default_factory=Fabric)
    """What is in force, without what was refused."""
    taken: set[tuple[str, int]] = field(default_factory=set)
    """(transport, port) of the node that are another program's."""
    living: dict[str, int] = field(default_factory=dict)
    """Connections through forwards, by the address they go to."""
    disturbance: anyio.Event = field(default_factory=anyio.Event)
    """Set it to have `disturbed` return."""
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

    async def apply(self, fabric: Fabric) -> None:
        kernel = self.fabric
        kernel.fault("apply", "", "before")
        await anyio.lowlevel.checkpoint()
        refused = [one for one in fabric.forwards if (one.transport, one.port) in kernel.taken]
        kernel.ready = True
        kernel.applied = Fabric(
            fabric.revision,
            fabric.subnets,
            fabric.reaches,
            tuple(one for one in fabric.forwards if one not in refused),
        )
        kernel.fault("apply", "", "after")
        if refused:
            told = {one: f"{one.transport} port {one.port} is in use by another program" for one in refused}
            raise Conflict(
                "; ".join(told.values()),
                problems=tuple(Problem(why, path=one.owner, kind="Taken") for one, why in told.items()),
            )

    async def attach(self, owner: str, address: str | None, subnet: Subnet | None = None) -> Attachment:
        fabric = self.fabric
        if not owner or owner.startswith(".") or "/" in owner or len(owner) > 200:
            raise Invalid(f"{owner!r} cannot name a network namespace")
        if address is not None and (subnet is None or not _usable(subnet, address)):
            raise Invalid(f"{address} is no address for a container in {subnet}")
        fabric.fault("attach", owner, "before")
        await anyio.sleep(fabric.attach_seconds)
        fabric.ready = True
        if owner not in fabric.attached or fabric.attached[owner] != address:
            self._note_clash(owner, address)
            fabric.attached[owner] = address
            fabric.attaches[owner] += 1
            fabric.took("attach", owner)
        pin = fabric.run / "netns" / owner
        if address is None or subnet is None:
            fabric.homes.pop(owner, None)
            fabric.fault("attach", owner, "after")
            return Attachment(owner, pin, None, None)
        fabric.homes[owner] = subnet
        fabric.fault("attach", owner, "after")
        gateway6 = gateway(subnet.blocks6[0]) if subnet.blocks6 else None
        return Attachment(owner, pin, address, gateway(subnet.blocks[0]), address6(subnet, address), gateway6)

    async def join(self, owner: str) -> Attachment:
        await anyio.lowlevel.checkpoint()
        if owner not in self.fabric.attached:
            raise NotFound(f"{owner} has no network to share")
        return Attachment(owner, self.fabric.run / "netns" / owner, None, None)

    def _note_clash(self, owner: str, address: str | None) -> None:
        for holder, held in self.fabric.attached.items():
            if address is not None and held == address and holder != owner:
                self.fabric.clashes.append((address, holder, owner))

    async def detach(self, owner: str) -> None:
        self.fabric.fault("detach", owner, "before")
        await anyio.lowlevel.checkpoint()
        if owner in self.fabric.attached:
            del self.fabric.attached[owner]
            self.fabric.homes.pop(owner, None)
            self.fabric.took("detach", owner)
        self.fabric.fault("detach", owner, "after")

    async def list(self) -> Sequence[str]:
        return sorted(self.fabric.attached)

    async def flows(self, addresses: Collection[str]) -> Mapping[str, int]:
        await anyio.lowlevel.checkpoint()
        return {one: number for one, number in self.fabric.living.items() if one in addresses and number}

    async def disturbed(self) -> None:
        await self.fabric.disturbance.wait()
        self.fabric.disturbance = anyio.Event()

    async def destroy(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.fabric.attached.clear()
        self.fabric.homes.clear()
        self.fabric.applied = Fabric()
        self.fabric.ready = False


def _usable(subnet: Subnet, address: str) -> bool:
    try:
        number = block_of(subnet, address)
    except ValueError:
        return False
    if number is None:
        return False
    block = ipaddress.IPv4Network(subnet.blocks[number])
    reserved = {str(block.network_address), gateway(str(block)), str(block.broadcast_address)}
    return str(ipaddress.IPv4Address(address)) not in reserved
