"""`zlayer daemon reset`: end everything of a data directory and take it away, kernel objects first.

Uses the agent's own way down, so what is removed is found and removed exactly as a running daemon would. What cannot
be taken apart is told, and its directory left for another try. Killed half-way, it goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import anyio

from zlayer.agent.instance import InstanceLoop, Shop
from zlayer.agent.perform import Steps
from zlayer.agent.recover import recover
from zlayer.agent.status import StatusWriter
from zlayer.agent.turns import turns
from zlayer.daemon import lock, wiring
from zlayer.daemon.config import load
from zlayer.daemon.wiring import Drivers
from zlayer.model import keys
from zlayer.model.errors import Corrupt, Failed, ZlayerError
from zlayer.model.instance import Instance
from zlayer.model.paths import Paths
from zlayer.model.units import Seconds
from zlayer.store.documents import decoder

PATIENCE = 60.0
"""Seconds for containers to end; each gets TERM, then KILL after its grace."""
LONGEST = Seconds(10)
"""Of all graces: who resets wants it gone."""
KEPT = ("config.toml",)


def reset(paths: Paths, *, volumes: bool = False) -> list[str]:
    """What was removed, for people. Named volumes go only with `volumes`. `Conflict` while a daemon runs here."""
    if not paths.root.exists():
        return []
    with lock.hold(paths.lock):
        try:
            removed = anyio.run(_take_apart, paths)
        except Corrupt:  # the state goes in any case
            for file in paths.root.glob(f"{paths.state.name}*"):
                file.unlink()
            removed = anyio.run(_take_apart, paths)
        keep = {*KEPT, paths.lock.name} | (set() if volumes or not _any(paths.volumes) else {paths.volumes.name})
        for entry in sorted(paths.root.iterdir()):
            if entry.name not in keep:
                _delete(entry)
        paths.lock.unlink()
    return removed


async def _take_apart(paths: Paths) -> list[str]:
    config = load(paths.root / "config.toml")
    async with wiring.drivers(paths, config) as drivers:
        records = await recover(drivers.machine)
        wishes = await _wishes(drivers)
        loops = [
            InstanceLoop(name, _shop(drivers), wishes.get(name), record, Steps(drivers.machine, name))
            for name, record in records.items()
        ]
        with anyio.move_on_after(PATIENCE) as deadline:
            async with anyio.create_task_group() as tasks:
                for loop in loops:
                    tasks.start_soon(loop.run, tasks)
        left = [loop.id for loop in loops if not loop.settled]
        if deadline.cancelled_caught or left:
            raise Failed(f"could not take apart: {', '.join(left)}", hint="try again; the daemon's log says more")
        if drivers.carriers is not None:
            await drivers.carriers.destroy()
        await drivers.machine.network.destroy()
        return [loop.id for loop in loops]


async def _wishes(drivers: Drivers) -> dict[str, Instance]:
    """What the store knows of each instance, so that it ends by its own signal and grace, but for too long a one."""
    read = decoder(Instance)
    found = [read(item.value) for item in (await drivers.store.list(keys.INSTANCES)).items]
    grace = {one.id: min(one.spec.stop_grace, LONGEST) for one in found}
    return {one.id: one.model_copy(update={"desired": "removed", "stop_grace": grace[one.id]}) for one in found}


def _shop(drivers: Drivers) -> Shop:
    writer = StatusWriter(drivers.store, time.time)
    return Shop(drivers.machine, writer, drivers.node.id, drivers.node.runtime, turns(8), time.time)


def _any(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def main() -> int:
    """`python -m zlayer.daemon.reset DIR [--volumes]`, for the command line, which does not load drivers itself."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--volumes", action="store_true")
    args = parser.parse_args()
    try:
        removed = reset(Paths.of(args.directory), volumes=args.volumes)
    except ZlayerError as error:
        told = [f"error: {error.message}", *(f"  {problem}" for problem in error.problems if len(error.problems) > 1)]
        print("\n".join([*told, f"hint: {error.hint}"] if error.hint else told), file=sys.stderr)
        return error.exit_code
    print(f"removed {len(removed)} containers and all state below {args.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
