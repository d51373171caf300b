"""How long a command takes as a whole process, beside the bare interpreter in the same run.

    python bench/cli_start.py [--rounds 40] [--data-dir DIR]

`ps` asks a scripted daemon, so that only the command is measured; with --data-dir it asks the daemon there.
The budgets of the issue: `--help` at most 4 times, `ps` at most 6 times `python -c pass`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from zlayer.testing.api_samples import container, deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

PYTHON = sys.executable
WAYS: dict[str, tuple[Sequence[str], float | None]] = {
    "python -c pass": ([PYTHON, "-c", "pass"], None),
    "zlayer --help": ([PYTHON, "-m", "zlayer", "--help"], 4),
    "zlayer ps": ([PYTHON, "-m", "zlayer", "ps"], 6),
    "zlayer ps -c --format json": ([PYTHON, "-m", "zlayer", "ps", "-c", "--format", "json"], 6),
}


def measure(rounds: int, environ: Mapping[str, str]) -> dict[str, float]:
    """Median milliseconds of each way; interleaved, so that a slow moment of the machine is everybody's."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (argv, _) in WAYS.items():
            start = time.perf_counter()
            subprocess.run(argv, env=environ, stdout=subprocess.DEVNULL, check=True)
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(each) for name, each in taken.items()}


def main(rounds: int, data_dir: str | None) -> int:
    if data_dir:
        figures = measure(rounds, {**os.environ, "ZLAYER_DATA_DIR": data_dir})
    else:
        routes = {
            "GET /api/v1/deployments": Answer([deployment(f"shop{n}") for n in range(5)]),
            "GET /api/v1/instances": Answer([container(id=f"shop-web-{n}-a") for n in range(50)]),
        }
        with ScriptedDaemon({**routes}) as daemon:
            figures = measure(rounds, daemon.environ)
    bare = figures["python -c pass"]
    late = 0
    for name, median in figures.items():
        budget = WAYS[name][1]
        within = "" if budget is None else f"budget {budget:g}x" + ("" if median <= budget * bare else "  MISSED")
        late += within.endswith("MISSED")
        print(f"{name:<28} {median:7.1f} ms  {median / bare:4.1f}x  {within}".rstrip())
    return int(late > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    sys.exit(main(given.rounds, given.data_dir))
