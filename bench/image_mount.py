"""A root file system of 1, 8, 30 and 128 layers mounted: our drivers beside podman. Needs root.

    python bench/image_mount.py [--rounds 15]

Ours is `Snapshots.mount` of a fresh container, as the daemon calls it, its directories included. `first` is an image's
first container, for which copy puts the layers together and erofs packs them; a driver this machine lacks has no
figure. On ext4, for the kernel mounts no image files that lie on tmpfs. Podman's is
`podman mount` of a container created before, mounted once already: a command. `podman container exists` is the
same without a mount: most of podman's time is the start of a command, which ours does not have here.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from image_peers import memory, orderly, place
from peers import Podman, podman
from zlayer.image.contract import Image, Snapshots
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.rootfs import Choice
from zlayer.testing.imagery_drivers import lacking
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import many_layers
from zlayer.testing.registry import Registry

COUNTS = (1, 8, 30, 128)
OURS = ("overlay", "fuse-overlayfs", "copy", "erofs")


def main(rounds: int) -> None:
    names = [name for driver in OURS for name in (driver, "first")]
    with memory() as shelf, Registry(shelf) as registry, place("ext4"), tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print("".join(f"{name:>15}" for name in ("layers", *names, "podman", "without mount")) + "   ms")
        for count in COUNTS:
            reference = push(registry.target, "bench/many", str(count), many_layers(count - 1))
            image = anyio.run(LocalImages(root / "z").pull, reference)
            home = root / f"c{count}"
            home.mkdir()
            figures = [figure for driver in OURS for figure in _driver(driver, root, image, rounds)]
            with podman(home, reference, "runc" if shutil.which("runc") else "crun") as peer:
                figures += (None, None) if peer is None else _podman(peer, reference, rounds)
            told = ("-" if figure is None else f"{figure * 1e3:.2f}" for figure in figures)
            print(f"{count:15}" + "".join(f"{figure:>15}" for figure in told), flush=True)


def _driver(driver: str, root: Path, image: Image, rounds: int) -> tuple[float | None, float | None]:
    """Seconds of a container's mount in the median, and of the image's first one."""
    if lacking(driver):
        return None, None
    home = root / f"{driver}-{len(image.layers)}"
    home.mkdir()
    snapshots = Choice(driver, "").make(LayerStore(root / "z/layers"), home)
    first, *others = (anyio.run(_ours, home, snapshots, image, number) for number in range(1 + rounds))
    return statistics.median(others), first


def _podman(peer: Podman, reference: str, rounds: int) -> tuple[float, float]:
    """Seconds of the command that mounts, and of the one that does not."""
    made = peer.call("create", reference, "true").strip()
    bare = _median(rounds, lambda: peer.call("container", "exists", made))
    peer.call("mount", made)
    peer.call("umount", made)
    return _median(rounds, lambda: peer.call("mount", made), lambda: peer.call("umount", made)), bare


async def _ours(containers: Path, snapshots: Snapshots, image: Image, number: int) -> float:
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
