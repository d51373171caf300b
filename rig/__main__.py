"""The zero-loss rig: constant load through the proxy while everything behind it changes. Needs root.

    make rig                         all of it: 100 rolling updates of 1 and of 4 replicas, 1,000 replica swaps,
                                     certificates, reloads, kill -9 of the daemon (a quarter of an hour on two cores)
    make rig RIG=--quick             the same with less of each, in minutes
    make rig RIG="--only swaps"      one phase, or several with commas between
    make rig RIG="--only cycles"     200 times up, scaled and down: what is left on the machine counts as lost
    make rig RIG=--peer              docker compose under the same load beside it, for the record

A daemon, registry and images of its own; six kinds of client (a connection per request, keep-alive, a TLS handshake
per request, HTTP/2, WebSocket echo, a 10-second answer) in a process of their own. Every phase prints what was done
and what was answered, and each lost request with what was under way. Exit code 1 when anything was lost, 2 when
something did not come about at all. Whatever it made it takes away, interrupted or not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

import anyio
import structlog

from compose import compose
from cycles import cycles
from diary import Diary, Row, table
from phases import PHASES
from stage import QUICK, Measure, Stage, stage
from swaps import swaps

SWAPS, CYCLES = "swaps", "cycles"
NAMES = (*PHASES, SWAPS, CYCLES)


class Interrupted(Exception):
    """By a signal, or because it takes too long."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    names = given.only.split(",") if given.only else list(NAMES)
    if strange := set(names) - set(NAMES):
        print(f"no such phase: {', '.join(sorted(strange))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    peers: list[Row] = []
    trouble = ""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    _heed_signals(given.limit)
    try:
        _run(names, _measure(given), rows)
        if given.peer:
            began = time.monotonic()
            for row in compose(_measure(given)):
                _tell(peers, row, row.phase, row.did, began, most=3)
    except (Interrupted, AssertionError) as error:
        trouble = str(error) or type(error).__name__
        print(f"rig: {trouble}", file=sys.stderr)
    finally:
        signal.alarm(0)
        _report(rows, peers, trouble, given.json)
    return 2 if trouble else 1 if any(row.failed for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rig", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything: minutes")
    parser.add_argument("--updates", type=int, help="rolling updates of each kind (default 100)")
    parser.add_argument("--swaps", type=int, help="replica swaps (default 1000)")
    parser.add_argument("--cycles", type=int, help="times up, scaled and down (default 200)")
    parser.add_argument("--only", default="", help=f"phases, of: {', '.join(NAMES)}")
    parser.add_argument("--peer", action="store_true", help="docker compose under the same load, for the record")
    parser.add_argument("--json", type=Path, help="write the report there too")
    parser.add_argument("--limit", type=int, default=3600, help="seconds after which it gives up (default 3600)")
    return parser


def _measure(given: argparse.Namespace) -> Measure:
    base = QUICK if given.quick else Measure()
    told = {name: getattr(given, name) for name in ("updates", "swaps", "cycles") if getattr(given, name) is not None}
    return replace(base, **told)


def _run(names: Sequence[str], measure: Measure, rows: list[Row]) -> None:
    diary = Diary()
    if SWAPS in names:
        began = time.monotonic()
        row = anyio.run(swaps, measure, diary)
        _tell(rows, row, SWAPS, row.did, began)
    if CYCLES in names:
        began = time.monotonic()
        row = cycles(measure, diary)
        _tell(rows, row, CYCLES, row.did, began)
    if found := [name for name in names if name in PHASES]:
        with stage(measure) as on:
            _phases(on, found, rows)


def _phases(on: Stage, names: Sequence[str], rows: list[Row]) -> None:
    with on.loaded() as clients:
        for name in names:
            began = time.monotonic()
            on.diary.note(f"phase {name}")
            did = PHASES[name](on)
            row = clients.count()
            for at, words in on.missed:
                row.add("rig", at, words, on.diary)
            on.missed.clear()
            _tell(rows, row, name, did, began)
        began = time.monotonic()
        on.diary.note("the load ends")
        _tell(rows, clients.end(), "end", "what was still under way", began)


def _tell(rows: list[Row], row: Row, phase: str, did: str, began: float, most: int = 20) -> None:
    row.phase, row.did, row.seconds = phase, did, row.seconds or round(time.monotonic() - began, 1)
    rows.append(row)
    print(f"{phase:14}{did}; {row.answered} answered, {row.failed} lost", flush=True)
    for line in row.told(most):
        print(line, flush=True)


def _report(rows: list[Row], peers: list[Row], trouble: str, path: Path | None) -> None:
    print()
    for line in table([*rows, *peers]):
        print(line)
    lost, answered = sum(row.failed for row in rows), sum(row.answered for row in rows)
    load = os.getloadavg()[0]
    print(
        f"\n{lost} of {answered + lost} requests lost (load {load:.1f}){f'; NOT WHOLE: {trouble}' if trouble else ''}"
    )
    if path is not None:
        document = {
            "lost": lost,
            "answered": answered,
            "trouble": trouble,
            "phases": [row.document() for row in rows],
            "peers": [row.document() for row in peers],
        }
        path.write_text(json.dumps(document, indent=1))


def _heed_signals(limit: int) -> None:
    """The first one ends the run; while it is being cleaned up after, others are heard and not heeded."""

    def hear(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(each, signal.SIG_IGN)
        late = number == signal.SIGALRM
        raise Interrupted(f"not done within {limit} s" if late else f"interrupted by {signal.Signals(number).name}")

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(each, hear)
    signal.alarm(limit)


if __name__ == "__main__":
    sys.exit(main())
