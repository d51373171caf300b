"""One one-off container from nothing to nothing, image cached: ours beside bare runc and podman. Needs root.

    python bench/oneoff.py [--rounds 30] [--engine auto] [--here]

Ours is created, networked (veth, address, route), started, waited for and removed through the API. The bare engine
gets a bundle made beforehand and an empty network namespace; podman has the same engine, with and without a network.
Bare runc is measured beside, whatever the engine: it is the peer that needs no help of ours on any machine. Processor
time is that of all that was started for it (processor.py), this process included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from disk import disk
from peers import Bare, Bench, Podman, Way, bare, bench, interleave, podman, shield, table
from processor import Account, cgroup, inside


def main(rounds: int, engine: str, *, here: bool) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk(here=here))
        own = stack.enter_context(cgroup(f"zlbench-{os.getpid()}"))
        group, hands, theirs = (stack.enter_context(cgroup(f"{own}/{name}")) for name in ("zlayer", "bare", "podman"))
        with inside(group):
            ours = stack.enter_context(bench(engine))
        ways = _ours(ours, Account([group, f"zlayer-{ours.site.paths.id}"]))
        for name in dict.fromkeys((ours.engine, "runc")):
            ways[f"bare {name}"] = by_hand(stack.enter_context(bare(name)), rounds, hands)
        if (peer := stack.enter_context(podman(ours.site.root, ours.image, ours.engine))) is not None:
            ways |= _podman(peer, Account([theirs]))
        spent = interleave(ways, rounds)
        for against in dict.fromkeys((f"bare {ours.engine}", "bare runc")):
            table(spent, against)


def _ours(ours: Bench, account: Account) -> dict[str, Way]:
    def through_the_api() -> None:
        events = [e.event for e in ours.client.run({"image": ours.image, "command": ["true"], "rm": True})]
        assert events[-2:] == ["exited", "removed"], events

    def command() -> None:
        subprocess.run(ours.site.argv("run", "--rm", ours.image, "true"), env=ours.site.environ, check=True)

    return {"zlayer, API": Way(through_the_api, account), "zlayer run --rm": Way(command, account)}


def _podman(peer: Podman, account: Account) -> dict[str, Way]:
    here = ("--rm", "--cgroup-parent", f"/{account.names[0]}", peer.image, "true")
    return {
        "podman run --rm": Way(lambda: peer.run(*here), account),
        "podman run --rm, no network": Way(lambda: peer.bare_run(*here), account),
    }


def by_hand(engine: Bare, rounds: int, group: str) -> Way:
    """One more of its bundles at each call, where it works: a thread may see other mounts than its process."""
    bundles = []
    for number in range(rounds + 1):
        request = engine.box.request("true", name=f"b{number}")
        bundles.append((request.id, engine.bundle(request)))
    next_one = iter(bundles)
    pool = ThreadPoolExecutor(1, initializer=lambda: shield(engine.engine))
    account = Account([group, engine.box.cgroup])
    return Way(lambda: pool.submit(engine.run, *next(next_one)).result(), account)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="auto", help="crun, runc or youki; auto is what our daemon finds")
    parser.add_argument("--here", action="store_true", help="on /tmp as it is, journal or not")
    given = parser.parse_args()
    main(given.rounds, given.engine, here=given.here)
