"""From nothing to N idle replicas and back: ours beside bare conmon + runc and podman, four at a time. Needs root.

    python bench/scale.py [--counts 50,200] [--podman 50]

Ours pulls nothing (cached), mounts a root file system per replica, gives each an address, a veth and a route, keeps
state in the store, and is done when every replica is reported ready. The bare pair gets bundles made beforehand over
one shared root and an empty network namespace; podman runs `run -d` with its default network, four at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peers import Bare, Bench, Podman, bare, bench, podman
from zlayer.client.results import Deployment
from zlayer.testing.site import deployment, service

WIDTH = 4
IDLE = ("sleep", "3600")


def main(counts: list[int], most_podman: int) -> None:
    with bench() as ours, bare() as runc, podman(ours.site.root, ours.image) as peer:
        _prepare(ours)
        print(f"{'':8}{'replicas':>9}{'up s':>8}{'per s':>8}{'down s':>8}   (load {os.getloadavg()[0]:.1f})")
        for count in counts:
            rates: dict[str, float] = {}
            for name in ("bare", "zlayer", "bare", "zlayer"):
                spent = _ours(ours, count) if name == "zlayer" else _bare(runc, count)
                rates[name] = max(rates.get(name, 0.0), count / spent[0])
                _row(name, count, spent)
            if peer is not None and count <= most_podman:
                spent = _podman(peer, count)
                rates["podman"] = count / spent[0]
                _row("podman", count, spent)
            against = " ".join(f"{rates['zlayer'] / rate:.2f}x {name}" for name, rate in rates.items())
            print(f"zlayer at {count}: {against}")


def _row(name: str, count: int, spent: tuple[float, float]) -> None:
    print(f"{name:8}{count:9}{spent[0]:8.2f}{count / spent[0]:8.1f}{spent[1]:8.2f}", flush=True)


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


def _ours(ours: Bench, count: int) -> tuple[float, float]:
    began = time.perf_counter()
    ours.client.scale("bench", {"idle": count})
    _until(ours, count)
    up = time.perf_counter()
    ours.client.scale("bench", {"idle": 0})
    _until(ours, 0)
    return up - began, time.perf_counter() - up


def _bare(runc: Bare, count: int) -> tuple[float, float]:
    bundles = []
    for number in range(count):
        request = runc.box.request(*IDLE, name="shared" if number == 0 else f"s{number}")
        bundles.append((f"bare{number}", runc.bundle(request)))
    with ThreadPoolExecutor(WIDTH) as pool:
        began = time.perf_counter()
        list(pool.map(lambda b: _start(runc, *b), bundles))
        up = time.perf_counter()
        list(pool.map(lambda b: _stop(runc, *b), bundles))
        down = time.perf_counter()
    for _, bundle in bundles:
        shutil.rmtree(bundle.parent)
    return up - began, down - up


def _start(runc: Bare, name: str, bundle: Path) -> None:
    read, write = os.pipe()
    argv = [
        "conmon", "--api-version", "1", "-c", name, "-u", name, "-n", name, "-r", str(shutil.which(runc.engine)),
        "--runtime-arg", "--root", "--runtime-arg", str(runc.state), "-b", str(bundle), "-p", str(bundle / "pid"),
        "-P", str(bundle / "conmon"), "--full-attach", "--exit-dir", str(bundle), "-l", f"k8s-file:{bundle}/log",
    ]  # fmt: skip
    environ = {**os.environ, "_OCI_SYNCPIPE": str(write)}
    subprocess.run(argv, check=True, pass_fds=(write,), env=environ, cwd=bundle, stderr=subprocess.DEVNULL)
    os.close(write)
    os.read(read, 65536)
    os.close(read)
    _call(runc, "start", name)


def _stop(runc: Bare, name: str, bundle: Path) -> None:
    fd = os.pidfd_open(int((bundle / "conmon").read_text()))
    _call(runc, "kill", name, "KILL")
    import select

    select.select([fd], [], [])
    os.close(fd)
    _call(runc, "delete", name)


def _call(runc: Bare, *args: str) -> None:
    argv = [runc.engine, "--root", str(runc.state), *args]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _podman(peer: Podman, count: int) -> tuple[float, float]:
    with ThreadPoolExecutor(WIDTH) as pool:
        began = time.perf_counter()
        list(pool.map(lambda n: peer.run("-d", "--name", f"p{n}", peer.image, *IDLE), range(count)))
        up = time.perf_counter()
        list(pool.map(lambda n: peer.call("rm", "-f", "-t", "0", f"p{n}"), range(count)))
        return up - began, time.perf_counter() - up


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="50,200")
    parser.add_argument("--podman", type=int, default=50, help="podman only up to this many (it takes minutes)")
    given = parser.parse_args()
    main([int(n) for n in given.counts.split(",")], given.podman)
