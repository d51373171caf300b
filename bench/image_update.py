"""What the pull of an updated image fetches, of 8 layers one new, and the memory that pulls take. Needs no peers.

    python bench/image_update.py [--size 200]

Bytes are what a relay before the registry passes on to us, headers included, beside what the new layer, the manifest
and the config measure. Memory of the daemon is its high-water mark (VmHWM), reset before the first pull; that of the
worker is what it and the processes it unpacks in have together (the sum of their Pss), looked at every 10 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from image_peers import memory, orderly
from machine_image import machine_image, updated
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.testing.imagery import OciImage
from zlayer.testing.imagery_push import push
from zlayer.testing.registry import Registry
from zlayer.testing.relay import Relay
from zlayer.testing.site import Site

MOST = 100.0
"""MB (10^6) wanted at most."""


class Peak:
    """The most memory that a process's descendants had together, in MB, while the context lasts."""

    def __init__(self, parent: int) -> None:
        self._parent, self.most, self._over = parent, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, sum(share(one) for one in _workers(self._parent)))


def _workers(parent: int) -> Iterator[int]:
    """The worker and the processes it unpacks in, which have its command line."""
    for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                if b"zlayer.image.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield child
                    yield from _workers(child)


def share(pid: int) -> float:
    """MB resident, of pages that several processes have its part of each."""
    return _figure(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def high(pid: int) -> float:
    """MB of the high-water mark."""
    return _figure(Path(f"/proc/{pid}/status"), "VmHWM:")


def _figure(file: Path, key: str) -> float:
    """A process that has gone has none."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def main(size: int) -> None:
    with memory() as work, Registry(work) as registry, Site() as site:
        first = machine_image(work, size)
        push(registry.target, "bench/image", "1", first)
        second = updated(first, work)
        with Relay(int(registry.address.rpartition(":")[2])) as back:
            site.start()
            assert site.daemon is not None
            pid = site.daemon.pid
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            client = Client(Address(path=str(site.paths.socket)), timeout=120)
            name = f"127.0.0.1:{back.port}/bench/image:1"
            with Peak(pid) as peak:
                _pull(client, name, back, first, "first")
                push(registry.target, "bench/image", "1", second)
                _pull(client, name, back, second, "update", new=second.layers[-1].blob.size)
            for what, figure in (("worker", peak.most), ("daemon", high(pid))):
                print(f"peak memory of the {what}: {figure:.1f} MB (wanted <= {MOST:.0f})")


def _pull(client: Client, name: str, back: Relay, made: OciImage, which: str, new: int = 0) -> None:
    before, began = back.answered, time.perf_counter()
    for _ in client.pull(name, policy="always"):
        pass
    took = time.perf_counter() - began
    layers = new or sum(layer.blob.size for layer in made.layers)
    least = layers + made.config.size + made.manifest.size
    print(f"{which}: {back.answered - before:,} bytes came, {least:,} are the new layers, manifest and config", end="")
    print(f"; {took:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=200, help="MB (10^6), packed")
    orderly()
    main(parser.parse_args().size)
