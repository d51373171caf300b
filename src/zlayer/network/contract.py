"""The node's container networks: one isolated bridge per deployment, a network namespace per instance, forwarded ports.

What there should be comes from outside, whole (`Fabric`); addresses are chosen by `plan.ipam` and guarded in the store;
this room only makes them real. Everything is named after the data directory's short id, so several daemons share a
machine. All calls are idempotent; `apply` makes and mends the whole wanted state (after a reboot or a flushed ruleset
too).

Errors: `Unavailable` (missing capability, module or library; the hint says which), `Conflict` (a pool that a route of
the host already covers; ports that other programs have: one of `problems` for each, its path the forward's owner),
`Failed` (the kernel said no).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zlayer.model.fabric import Fabric, Subnet


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pinned network namespace with loopback up and, unless isolated, eth0 with `address` and a default route.

    `gateway` and `gateway6` are the network's: the node as the container reaches it, and its name server.
    """

    owner: str
    netns: Path
    address: str | None
    gateway: str | None
    address6: str | None = None
    gateway6: str | None = None


class Network(Protocol):
    async def ensure(self) -> None:
        """What all networks stand on: the pool claimed, forwarding on, the rules' frame. What runs is left as it is."""
        ...

    async def apply(self, fabric: Fabric) -> None:
        """All of it is in force when this returns, in one transaction where it is rules; what is not in it is gone.

        A bridge goes once nobody is attached to it. Sessions of udp targets that left are forgotten. `Conflict` when
        ports are another program's: the rest is then in force, and calling again tries them again.
        """
        ...

    async def attach(self, owner: str, address: str | None, subnet: Subnet | None = None) -> Attachment:
        """A namespace for `owner`, in `subnet`, whose bridge is made if need be. `address` None: loopback only.

        Attached already: the same answer.
        """
        ...

    async def join(self, owner: str) -> Attachment:
        """The namespace of an owner that is attached, for another to share. `NotFound` when it is not."""
        ...

    async def detach(self, owner: str) -> None:
        """Namespace, veth and pin are gone when this returns. Unknown owner: success."""
        ...

    async def list(self) -> Sequence[str]:
        """Owners with a namespace now, from the kernel and the pins, not from memory."""
        ...

    async def destroy(self) -> None:
        """Bridges, rules, routes and every namespace of this data directory: gone. For tests and uninstall."""
        ...

    async def flows(self, addresses: Collection[str]) -> Mapping[str, int]:
        """TCP connections that came through a forward and still live, by the (IPv4) address they go to."""
        ...

    async def disturbed(self) -> None:
        """Returns when somebody else has changed what was applied. The kernel tells; nothing is polled."""
        ...
