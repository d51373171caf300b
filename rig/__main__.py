"""The zero-loss rig: constant load through the proxy while everything behind it changes. Needs root.

    make rig                                   the whole of it, as the README quotes it
    python rig --updates 5 --swaps 100         a quick look
    python rig --only updates-4,kill-9

A daemon, registry and images of its own; five kinds of client (new connection per request, keep-alive, HTTP/2,
WebSocket echo, a 10-second answer) in a process of their own. Every phase prints what was done, what was answered
and what failed; the exit code is 1 when anything failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from phases import PHASES, Stage, stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="rig", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--updates", type=int, default=100, help="rolling updates of each kind (default 100)")
    parser.add_argument("--swaps", type=int, default=1000, help="servers swapped in the proxy (default 1000)")
    parser.add_argument("--only", default="", help=f"phases, of: {', '.join(PHASES)}")
    parser.add_argument("--slow", type=float, default=10.0, help="seconds of the slow answer (default 10)")
    parser.add_argument("--json", type=Path, help="write the tallies there too")
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else list(PHASES)
    if strange := set(wanted) - set(PHASES):
        parser.error(f"no such phase: {', '.join(sorted(strange))}")
    report: dict[str, object] = {}
    lost = 0
    with stage(given.slow) as on:
        for name in wanted:
            lost += _phase(on, name, given, report)
    print(f"\n{lost} failed requests in all")
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=1))
    return 1 if lost else 0


def _phase(on: Stage, name: str, given: argparse.Namespace, report: dict[str, object]) -> int:
    before = on.tally()
    began = time.monotonic()
    said = PHASES[name](on, given)
    after = on.tally()
    seconds = time.monotonic() - began
    good = {kind: count - before.good.get(kind, 0) for kind, count in after.good.items()}
    bad = sum(after.bad.values()) - sum(before.bad.values())
    answered = ", ".join(f"{count} {kind}" for kind, count in sorted(good.items()))
    print(f"{name:14} {said} in {seconds:.0f} s; answered {answered}; failed {bad}", flush=True)
    for words in after.words[len(before.words) :][:10]:
        print(f"               {words}", flush=True)
    report[name] = {"said": said, "seconds": round(seconds, 1), "good": good, "bad": bad, "p99_ms": after.p99}
    return bad


if __name__ == "__main__":
    sys.exit(main())
