"""A root file system of 1, 8, 30 and 128 layers mounted: our driver beside podman. Needs root.

    python bench/image_mount.py [--rounds 15]

Ours is `OverlaySnapshots.mount` of a fresh container, as the daemon calls it, its directories included. Podman's is
`podman mount` of a container created before, mounted once already: a command. `podman container exists` is the
same without a mount: most of podman's time is the start of a command, which ours does not have here.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from image_peers import memory, orderly
from peers import Podman, podman
from zlayer.image.contract import Image
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import many_layers
from zlayer.testing.registry import Registry

COUNTS = (1, 8, 30, 128)


def main(rounds: int) -> None:
    with memory() as root, Registry(root) as registry:
        print(f"{'layers':>8}{'ours ms':>10}{'podman ms':>11}{'without mount':>14}")
        for count in COUNTS:
            reference = push(registry.target, "bench/many", str(count), many_layers(count - 1))
            image = anyio.run(LocalImages(root / "z").pull, reference)
            home = root / f"c{count}"
            home.mkdir()
            snapshots = OverlaySnapshots(LayerStore(root / "z/layers"), home)
            mine = statistics.median(anyio.run(_ours, home, snapshots, image, number) for number in range(rounds))
            with podman(home, reference, "runc" if shutil.which("runc") else "crun") as peer:
                line = f"{count:8}{mine * 1e3:10.2f}"
                if peer is not None:
                    spent, bare = _podman(peer, reference, rounds)
                    line += f"{spent * 1e3:11.1f}{bare * 1e3:14.1f}"
                print(line, flush=True)


def _podman(peer: Podman, reference: str, rounds: int) -> tuple[float, float]:
    """Seconds of the command that mounts, and of the one that does not."""
    made = peer.call("create", reference, "true").strip()
    bare = _median(rounds, lambda: peer.call("container", "exists", made))
    peer.call("mount", made)
    peer.call("umount", made)
    return _median(rounds, lambda: peer.call("mount", made), lambda: peer.call("umount", made)), bare


async def _ours(containers: Path, snapshots: OverlaySnapshots, image: Image, number: int) -> float:
    directory = containers / f"c{number}"
    try:
        began = time.perf_counter()
        await snapshots.mount(image, directory.name, directory)
        return time.perf_counter() - began
    finally:
        await snapshots.unmount(directory.name, directory, discard=True)


def _median(rounds: int, work: Callable[[], object], after: Callable[[], object] = lambda: None) -> float:
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
        after()
    return statistics.median(spent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    orderly()
    main(parser.parse_args().rounds)
