"""`python -m zlayer.network.dns DIRECTORY [PORT]`: the name server of a node, by the zone last written there."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from zlayer import __version__
from zlayer.network.dns import privileges, zonefile
from zlayer.network.dns.control import Control
from zlayer.network.dns.server import NameServer


async def serve(directory: Path, port: int) -> None:
    zone = zonefile.load(directory / "zone.json")
    server = NameServer(port)
    await server.take(zone)
    control = Control(server, __version__, zonefile.digest(zonefile.encode(zone)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, control.ended.set)
    async with await control.listen(directory / "dns.sock"):
        privileges.drop()
        await control.ended.wait()
        await server.close()


def main() -> None:
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 53))


if __name__ == "__main__":
    main()
