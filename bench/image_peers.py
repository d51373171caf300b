"""What the benchmarks of images share: rounds with their books, disks to work on, the pull by shell. A library."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from disk import PLACE, disk
from processor import Account, inside
from zlayer.runtime.oci.mountspace import separate
from zlayer.testing.imagery import OciImage
from zlayer.testing.registry import Registry

Where = Literal["tmpfs", "ext4"]
MEMORY = Path("/dev/shm")
"""Where the registry lies and what is made beforehand: out of the way of what is measured."""


def nothing() -> None:
    """What most steps need done before them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of several ways to do the same. `prepare` is not counted. It runs in the first cgroup of `account`."""

    run: Callable[[], object]
    account: Account
    prepare: Callable[[], object] = nothing


@dataclass(slots=True)
class Book:
    """Seconds of each round: until it returned, until all was on disk, and of processors."""

    wall: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)


def orderly() -> None:
    """SIGTERM ends us as Ctrl-C does: what was made is taken away. Without the programs of the pipelines, at once."""
    if missing := [tool for tool in ("curl", "pigz", "tar") if shutil.which(tool) is None]:
        sys.exit(f"needs {', '.join(missing)}: apt-get install curl pigz tar")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextlib.contextmanager
def place(where: Where, *, here: bool = False) -> Iterator[None]:
    """`/tmp`, as this process and what it starts see it, is a fresh tmpfs, or a disk as machines have it."""
    if where == "ext4":
        with disk(here=here):
            yield
        return
    separate()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g,mode=1777", "tmpfs", str(PLACE)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(PLACE)], check=True)


@contextlib.contextmanager
def memory() -> Iterator[Path]:
    """A directory in memory that is seen whatever is mounted on `/tmp`."""
    with tempfile.TemporaryDirectory(prefix="zlbench", dir=MEMORY) as directory:
        yield Path(directory)


def measure(steps: Mapping[str, Step], rounds: int) -> dict[str, Book]:
    """In turn and in rotating order; the first round warms up and is not counted."""
    names = list(steps)
    books = {name: Book() for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            _one(steps[name], books[name] if number else Book())
    return books


def _one(step: Step, book: Book) -> None:
    step.prepare()
    _settle()
    with inside(step.account.names[0]):
        before, user, began = step.account.seconds(), step.account.user(), time.perf_counter()
        step.run()
        book.wall.append(time.perf_counter() - began)
        book.processor.append(step.account.seconds() - before)
        book.user.append(step.account.user() - user)
    _settle()
    book.settled.append(time.perf_counter() - began)


def _settle() -> None:
    subprocess.run(["sync", "-f", str(PLACE)], check=True)


def ratios(books: Mapping[str, Book], of: str, to: str, what: str = "wall") -> float:
    """The median over the rounds of `of` by `to`."""
    pairs = zip(getattr(books[of], what), getattr(books[to], what), strict=True)
    return float(statistics.median(one / other for one, other in pairs))


def report(books: Mapping[str, Book], against: str) -> None:
    """Medians; how many times as long as `against` each takes is the median of the ratios of each round."""
    head = "".join(f"{name:>11}" for name in ("median s", "min", "times", "on disk s", "user s", "user+sys s"))
    print(f"{'':34}{head}   (load {os.getloadavg()[0]:.1f})")
    for name, book in books.items():
        middle = statistics.median
        print(f"{name:34}{middle(book.wall):11.2f}{min(book.wall):11.2f}{ratios(books, name, against):11.2f}", end="")
        print(f"{middle(book.settled):11.2f}{middle(book.user):11.2f}{middle(book.processor):11.2f}")


def pipeline(registry: Registry, made: OciImage, target: Path, *, keep: bool) -> Callable[[], None]:
    """`curl | pigz -dc | tar`, two layers at a time, the largest first; no digest is looked at.

    `keep`: `tee` keeps the packed layer beside, as every engine does that can push the image again.
    """
    tee = 'tee "$1.gz" |' if keep else ""
    script = f'set -o pipefail; mkdir "$1"; curl -sSf "$0" | {tee} pigz -dc | tar -x --numeric-owner -C "$1"'
    ordered = sorted(made.layers, key=lambda layer: -layer.blob.size)
    address = f"http://{registry.address}/v2/bench/image/blobs"
    words = [w for n, layer in enumerate(ordered) for w in (f"{address}/{layer.blob.digest}", str(target / f"{n}"))]

    def run() -> None:
        argv = ["xargs", "-n2", "-P2", "bash", "-c", script]
        subprocess.run(argv, input="\n".join(words), text=True, check=True)

    return run


def emptied(directory: Path) -> Callable[[], None]:
    """Make it, with nothing in it."""

    def empty() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)

    return empty


def verdict(what: str, figure: float, wanted: str, *, good: bool) -> None:
    print(f"{what}: {figure:.2f} (wanted {wanted}){'' if good else ' MISSED'}")


__all__: Sequence[str] = [
    "Book", "Step", "Where", "emptied", "measure", "memory", "orderly", "pipeline", "place", "ratios", "report",
    "verdict",
]  # fmt: skip
