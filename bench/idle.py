"""A daemon at rest with 50 containers, and an `up` that changes nothing for 50 services. Needs root.

    python bench/idle.py [--containers 50] [--seconds 30]

CPU is the daemon's own, user and system, from /proc; memory is its resident set. The no-op `up` is what the daemon
spends on the plan and the deploy together, in CPU and as the API answers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

from peers import Bench, bench
from zlayer.testing.site import deployment, service

TICK = os.sysconf("SC_CLK_TCK")


def main(containers: int, seconds: float) -> None:
    with bench() as ours:
        assert ours.site.daemon is not None
        pid = ours.site.daemon.pid
        print(f"fresh daemon: {rss(pid):.1f} MB resident")
        spec = json.dumps(deployment("bench", **{f"s{n}": _idle(ours) for n in range(containers)}))
        ours.client.deploy(spec)
        for item in ours.client.follow("bench", patience=300):
            if getattr(item, "status", "") == "running":
                break
        print(f"{containers} services of one replica: {rss(pid):.1f} MB resident")
        time.sleep(15)  # until the deployment has stood its trial, and is at rest
        before, began, woken = cpu(pid), time.monotonic(), switches(pid)
        time.sleep(seconds)
        spent = time.monotonic() - began
        print(f"idle for {spent:.0f} s: {100 * (cpu(pid) - before) / spent:.3f} % CPU, ", end="")
        print(f"{(switches(pid) - woken) / spent:.1f} voluntary switches/s")
        _no_op(ours, spec, pid)


def _idle(ours: Bench) -> dict[str, object]:
    return service(ours.image, command={"entrypoint": ["sleep", "3600"]}, stop_grace_period="0s", stop_signal="SIGKILL")


def _no_op(ours: Bench, spec: str, pid: int) -> None:
    wall, used = [], []
    for _ in range(7):
        before, began = cpu(pid), time.perf_counter()
        plan = ours.client.plan(spec)
        answer = ours.client.deploy(spec, revision=plan.revision)
        wall.append(time.perf_counter() - began)
        used.append(cpu(pid) - before)
        assert not answer.changed
    print(f"no-op up: {statistics.median(wall) * 1e3:.0f} ms to answer, {statistics.median(used) * 1e3:.0f} ms CPU")


def cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss(pid: int) -> float:
    """Megabytes (10^6) resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def switches(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("voluntary_ctxt_switches:")[1].split()[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    main(given.containers, given.seconds)
