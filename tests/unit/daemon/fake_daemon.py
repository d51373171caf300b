"""A daemon over fakes, as a program: `fake_daemon.py DATA_DIR OPTIONS [broken]`. Prints its facts once it is ready."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zlayer.agent.perform import Machine
from zlayer.daemon.config import Config
from zlayer.daemon.options import Options
from zlayer.daemon.serve import run
from zlayer.daemon.wiring import Drivers
from zlayer.model.errors import Unavailable, ZlayerError
from zlayer.model.paths import Paths
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import node
from zlayer.testing.fake_images import FakeImages
from zlayer.testing.fake_network import FakeFabric, FakeNetwork
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.fake_snapshots import FakeSnapshots

SUBNET = "10.77.1.0/24"


@asynccontextmanager
async def fakes(paths: Paths, _config: Config) -> AsyncIterator[Drivers]:
    if sys.argv[3:] == ["broken"]:
        raise Unavailable("no OCI engine is installed", hint="apt install runc")
    network = FakeNetwork(FakeFabric())
    machine = Machine(FakeRuntime(), FakeImages(), FakeSnapshots({}), network, paths, time.time)
    async with MemoryStore() as store:
        yield Drivers(store, machine, node("n1", subnet=SUBNET), probe)


async def probe() -> list[dict[str, Any]]:
    return []


def main() -> int:
    paths = Paths.of(Path(sys.argv[1]))
    try:
        run(
            paths,
            Options.parse(sys.argv[2]),
            on_ready=lambda facts: print(json.dumps(asdict(facts)), flush=True),
            foreground=False,
            assemble=fakes,
        )
    except ZlayerError as error:
        print(json.dumps(error.document()), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
