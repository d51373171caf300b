"""Our driver beside what it drives: bare `runc create/start/wait/delete`, and conmon + runc by hand. Needs root.

    python bench/runtime_raw.py [--rounds 30] [--parallel 30]

The same root file system and the same config.json for all three, rounds interleaved in changing order, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.cgroups.hierarchy import mounted
from zlayer.runtime.oci.config import Place, config_of
from zlayer.runtime.oci.driver import OciRuntime
from zlayer.testing.sandbox import Sandbox, sandbox

Once = Callable[[CreateRequest], Awaitable[None]]


class Bench:
    """The three ways to run one container to its end, each leaving nothing behind."""

    def __init__(self, box: Sandbox, engine: str) -> None:
        self.box, self.engine = box, engine
        self.runtime = OciRuntime(box.containers, box.run, box.cgroup, engine)
        self.state = box.root / "s"
        self.steps: dict[str, list[float]] = {}

    def _timed(self, step: str, began: float) -> float:
        now = time.perf_counter()
        self.steps.setdefault(step, []).append(now - began)
        return now

    async def zlayer(self, request: CreateRequest) -> None:
        at = time.perf_counter()
        handle = await self.runtime.create(request)
        at = self._timed("create", at)
        await self.runtime.start(handle)
        at = self._timed("start", at)
        await self.runtime.wait(handle)
        at = self._timed("wait", at)
        await self.runtime.remove(handle)
        self._timed("remove", at)

    def _bundle(self, request: CreateRequest) -> Path:
        bundle = request.directory / "bare"
        bundle.mkdir()
        place = Place(f"/{self.box.cgroup}/{request.id}", mounted())
        (bundle / "config.json").write_text(json.dumps(config_of(request, place)))
        return bundle

    def _run(self, *args: str) -> None:
        argv = [self.engine, "--root", str(self.state), *args]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    async def bare(self, request: CreateRequest) -> None:
        await anyio.to_thread.run_sync(self._bare, request)

    def _bare(self, request: CreateRequest) -> None:
        bundle = self._bundle(request)
        self._run("create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), request.id)
        self._finish(request, int((bundle / "pid").read_text()))

    def _finish(self, request: CreateRequest, pid: int) -> None:
        fd = os.pidfd_open(pid)
        self._run("start", request.id)
        select.select([fd], [], [])
        os.close(fd)
        self._run("delete", request.id)
        shutil.rmtree(request.directory / "bare")

    async def conmon(self, request: CreateRequest) -> None:
        await anyio.to_thread.run_sync(self._conmon, request)

    def _conmon(self, request: CreateRequest) -> None:
        bundle = self._bundle(request)
        read, write = os.pipe()
        argv = [
            "conmon", "--api-version", "1", "-c", request.id, "-u", request.id, "-n", request.id,
            "-r", str(shutil.which(self.engine)), "--runtime-arg", "--root", "--runtime-arg", str(self.state),
            "-b", str(bundle), "-p", str(bundle / "pid"), "-P", str(bundle / "conmon"), "--full-attach",
            "--exit-dir", str(bundle), "-l", f"k8s-file:{bundle}/log",
        ]  # fmt: skip
        environ = {**os.environ, "_OCI_SYNCPIPE": str(write)}
        subprocess.run(argv, check=True, pass_fds=(write,), env=environ, cwd=bundle, stderr=subprocess.DEVNULL)
        os.close(write)
        pid = int(json.loads(os.read(read, 65536))["data"])
        os.close(read)
        monitor = os.pidfd_open(int((bundle / "conmon").read_text()))
        fd = os.pidfd_open(pid)
        self._run("start", request.id)
        select.select([fd], [], [])
        select.select([monitor], [], [])
        os.close(fd)
        os.close(monitor)
        self._run("delete", request.id)
        shutil.rmtree(bundle)


async def one_by_one(bench: Bench, ways: dict[str, Once], rounds: int) -> dict[str, list[float]]:
    """Seconds per round of each way; a warm-up round first."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in random.sample(sorted(ways), len(ways)):
            request = bench.box.request("true", name=f"{name}{number}")
            began = time.perf_counter()
            await ways[name](request)
            if number:
                spent[name].append(time.perf_counter() - began)
            shutil.rmtree(request.directory)
    return spent


async def side_by_side(bench: Bench, way: Once, name: str, count: int, width: int = 4) -> float:
    """Containers a second, `width` at a time."""
    requests = [bench.box.request("true", name=f"{name}p{n}") for n in range(count)]
    limit = anyio.CapacityLimiter(width)

    async def one(request: CreateRequest) -> None:
        async with limit:
            await way(request)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(one, request)
    spent = time.perf_counter() - began
    for request in requests:
        shutil.rmtree(request.directory)
    return count / spent


async def main(rounds: int, parallel: int, engine: str) -> None:
    with sandbox() as box:
        bench = Bench(box, engine)
        bench.state.mkdir()
        ways: dict[str, Once] = {f"bare {engine}": bench.bare, "conmon by hand": bench.conmon, "zlayer": bench.zlayer}
        ways = {name.replace(" ", "-"): way for name, way in ways.items()}
        began = time.process_time()
        spent = await one_by_one(bench, ways, rounds)
        own = await _cpu(bench, 10)
        base = statistics.median(spent[f"bare-{engine}"])
        print(f"one at a time, {rounds} rounds, engine {engine} (load {os.getloadavg()[0]:.1f})")
        print(f"{'':18}{'median ms':>10}{'min':>8}{'ratio':>8}")
        for name, times in spent.items():
            median = statistics.median(times)
            print(f"{name:18}{median * 1e3:10.1f}{min(times) * 1e3:8.1f}{median / base:8.2f}")
        steps = ", ".join(f"{k} {statistics.median(v) * 1e3:.1f}" for k, v in bench.steps.items())
        print(f"zlayer's steps, ms: {steps}; our own CPU {own * 1e3:.1f} ms a container")
        print(f"\nfour at a time, {parallel} containers, per second")
        for name, way in ways.items():
            print(f"{name:18}{await side_by_side(bench, way, name, parallel):10.1f}")
        await bench.runtime.close()
        assert time.process_time() > began


async def _cpu(bench: Bench, count: int) -> float:
    """Our own CPU seconds per container of the driver, without its children."""
    spent = 0.0
    for number in range(count):
        request = bench.box.request("true", name=f"cpu{number}")
        began = time.process_time()
        await bench.zlayer(request)
        spent += time.process_time() - began
        shutil.rmtree(request.directory)
    return spent / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--parallel", type=int, default=30)
    parser.add_argument("--engine", default="runc")
    given = parser.parse_args()
    anyio.run(main, given.rounds, given.parallel, given.engine)
