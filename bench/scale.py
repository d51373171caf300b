"""From nothing to N idle replicas and back: ours beside bare conmon + engine and podman, four at a time. Needs root.

    python bench/scale.py [--counts 50,200] [--podman 50] [--engine auto] [--rounds 3] [--here]

Ours pulls nothing (cached), mounts a root file system per replica, gives each an address, a veth and a route, keeps
state in the store, and is done when every replica is reported ready. The bare pair gets bundles made beforehand over
one shared root and an empty network namespace; podman runs `run -d` with its default network, four at a time. All use
the same engine. Rates are medians of the rounds; processor time is all that was spent on the way up (processor.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from disk import disk
from peers import Bare, Bench, Podman, bare, bench, podman, shield
from processor import Account, cgroup, inside
from zlayer.client.results import Deployment
from zlayer.testing.site import deployment, service

WIDTH = 4
IDLE = ("sleep", "3600")


@dataclass(frozen=True, slots=True)
class Turn:
    """Containers a second up, seconds down, and milliseconds of processor per container up."""

    rate: float
    down: float
    processor: float


Way = Callable[[int], tuple[float, float, float]]
"""Seconds up, seconds down, seconds of processor up, for so many containers."""


def main(counts: list[int], most_podman: int, engine: str, rounds: int, *, here: bool) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk(here=here))
        own = stack.enter_context(cgroup(f"zlbench-{os.getpid()}"))
        groups = {name: stack.enter_context(cgroup(f"{own}/{name}")) for name in ("zlayer", "bare", "podman")}
        with inside(groups["zlayer"]):
            ours = stack.enter_context(bench(engine))
        by_hand = stack.enter_context(bare(ours.engine))
        peer = stack.enter_context(podman(ours.site.root, ours.image, ours.engine))
        _prepare(ours)
        mine = Account([groups["zlayer"], f"zlayer-{ours.site.paths.id}"])
        theirs = Account([groups["bare"], by_hand.box.cgroup])
        ways: dict[str, Way] = {
            "bare": lambda count: _bare(by_hand, count, theirs),
            "zlayer": lambda count: _ours(ours, count, mine),
        }
        if peer is not None:
            ways["podman"] = lambda count: _podman(peer, count, Account([groups["podman"]]))
        print(f"{'engine ' + ours.engine:16}{'replicas':>9}{'per s':>8}{'down s':>8}{'processor ms':>14}")
        for count in counts:
            _compare({n: w for n, w in ways.items() if n != "podman" or count <= most_podman}, count, rounds)


def _compare(ways: dict[str, Way], count: int, rounds: int) -> None:
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            up, down, processor = way(count)
            turns[name].append(Turn(count / up, down, processor * 1e3 / count))
    for name, each in turns.items():
        rate, down, processor = (statistics.median(getattr(turn, f) for turn in each) for f in Turn.__slots__)
        print(f"{name:16}{count:9}{rate:8.1f}{down:8.2f}{processor:14.1f}", flush=True)
    for name in turns.keys() - {"zlayer"}:
        ratios = sorted(a.rate / b.rate for a, b in zip(turns["zlayer"], turns[name], strict=True))
        print(f"zlayer at {count}: {statistics.median(ratios):.2f}x {name} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def _prepare(ours: Bench) -> None:
    spec = service(ours.image, command={"entrypoint": list(IDLE)}, stop_grace_period="0s", stop_signal="SIGKILL")
    spec["scale"] = {"mode": "manual"}
    ours.client.deploy(json.dumps(deployment("bench", idle=spec)))
    _until(ours, 1)
    ours.client.scale("bench", {"idle": 0})
    _until(ours, 0)


def _until(ours: Bench, count: int) -> None:
    for item in ours.client.follow("bench", patience=120):
        if isinstance(item, Deployment) and item.status == "running" and item.services[0].running == count:
            return


def _ours(ours: Bench, count: int, account: Account) -> tuple[float, float, float]:
    before, began = account.seconds(), time.perf_counter()
    ours.client.scale("bench", {"idle": count})
    _until(ours, count)
    up, spent = time.perf_counter(), account.seconds() - before
    ours.client.scale("bench", {"idle": 0})
    _until(ours, 0)
    return up - began, time.perf_counter() - up, spent


def _bare(by_hand: Bare, count: int, account: Account) -> tuple[float, float, float]:
    bundles = []
    for number in range(count):
        request = by_hand.box.request(*IDLE, name="shared" if number == 0 else f"s{number}")
        bundles.append((f"bare{number}", by_hand.bundle(request)))
    with inside(account.names[0]), ThreadPoolExecutor(WIDTH, initializer=lambda: shield(by_hand.engine)) as pool:
        before, began = account.seconds(), time.perf_counter()
        list(pool.map(lambda b: _start(by_hand, *b), bundles))
        up, spent = time.perf_counter(), account.seconds() - before
        list(pool.map(lambda b: _stop(by_hand, *b), bundles))
        down = time.perf_counter()
    for _, bundle in bundles:
        shutil.rmtree(bundle.parent)
    return up - began, down - up, spent


def _start(by_hand: Bare, name: str, bundle: Path) -> None:
    read, write = os.pipe()
    argv = [
        "conmon", "--api-version", "1", "-c", name, "-u", name, "-n", name, "-r", str(shutil.which(by_hand.engine)),
        "--runtime-arg", "--root", "--runtime-arg", str(by_hand.state), "-b", str(bundle), "-p", str(bundle / "pid"),
        "-P", str(bundle / "conmon"), "--full-attach", "--exit-dir", str(bundle), "-l", f"k8s-file:{bundle}/log",
    ]  # fmt: skip
    environ = {**os.environ, "_OCI_SYNCPIPE": str(write)}
    subprocess.run(argv, check=True, pass_fds=(write,), env=environ, cwd=bundle, stderr=subprocess.DEVNULL)
    os.close(write)
    os.read(read, 65536)
    os.close(read)
    _call(by_hand, "start", name)


def _stop(by_hand: Bare, name: str, bundle: Path) -> None:
    fd = os.pidfd_open(int((bundle / "conmon").read_text()))
    _call(by_hand, "kill", name, "KILL")
    select.select([fd], [], [])
    os.close(fd)
    _call(by_hand, "delete", name)


def _call(by_hand: Bare, *args: str) -> None:
    argv = [by_hand.engine, "--root", str(by_hand.state), *args]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _podman(peer: Podman, count: int, account: Account) -> tuple[float, float, float]:
    parent = f"/{account.names[0]}"
    with inside(account.names[0]), ThreadPoolExecutor(WIDTH) as pool:
        before, began = account.seconds(), time.perf_counter()
        argv = ("-d", "--cgroup-parent", parent)
        list(pool.map(lambda n: peer.run(*argv, "--name", f"p{n}", peer.image, *IDLE), range(count)))
        up, spent = time.perf_counter(), account.seconds() - before
        list(pool.map(lambda n: peer.call("rm", "-f", "-t", "0", f"p{n}"), range(count)))
        return up - began, time.perf_counter() - up, spent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="50,200")
    parser.add_argument("--podman", type=int, default=50, help="podman only up to this many (it takes minutes)")
    parser.add_argument("--engine", default="auto", help="crun, runc or youki; auto is what our daemon finds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help="on /tmp as it is, journal or not")
    given = parser.parse_args()
    main([int(n) for n in given.counts.split(",")], given.podman, given.engine, given.rounds, here=given.here)
