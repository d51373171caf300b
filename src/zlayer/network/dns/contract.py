"""The node's name server: a whole zone in, every question is answered by it when the call returns.

Lifecycle: the first zone with a view starts the server, which outlives the daemon and reads the last zone, written
whole to disk, when it starts again. A new driver over the same directory adopts it. A dead server is started again by
the driver itself. `close` lets it run on; `destroy` ends it.

Errors: `Unavailable` (it does not start or answer), `Conflict` (an address is in use by another name server: told,
the other addresses are served all the same; one of `problems` for each, its path the view's network).
"""

from __future__ import annotations

from typing import Protocol

from zlayer.model.zone import Zone


class NameServer(Protocol):
    async def apply(self, zone: Zone) -> None:
        """Returns when every answer is by `zone`, and by nothing older. Equal to the last one: nothing happens."""
        ...

    async def close(self) -> None: ...

    async def destroy(self) -> None: ...
