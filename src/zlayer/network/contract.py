"""The node's container network: one bridge, a network namespace per instance, addresses given from outside.

Addresses are chosen by `plan.ipam` and guarded in the store; this room only makes them real. Everything is named
after the data directory's short id, so several daemons share a machine. All calls are idempotent; `ensure` applies
the whole wanted state again (after a reboot or a flushed ruleset too).

Errors: `Unavailable` (missing capability, module or library; the hint says which), `Conflict` (a subnet that a route
of the host already covers), `Failed` (the kernel said no).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pinned network namespace with loopback up and, unless isolated, eth0 with `address` and a default route."""

    owner: str
    netns: Path
    address: str | None
    gateway: str | None


class Network(Protocol):
    async def ensure(self) -> None:
        """Bridge with its address, forwarding, masquerade and filter rules: made or mended, never doubled."""
        ...

    async def attach(self, owner: str, address: str | None) -> Attachment:
        """A namespace for `owner`. `address` None gives loopback only. Attached already: the same answer."""
        ...

    async def detach(self, owner: str) -> None:
        """Namespace, veth and pin are gone when this returns. Unknown owner: success."""
        ...

    async def list(self) -> Sequence[str]:
        """Owners with a namespace now, from the kernel and the pins, not from memory."""
        ...

    async def destroy(self) -> None:
        """Bridge, rules and every namespace of this data directory: gone. For `demo-clean`, tests and uninstall."""
        ...
