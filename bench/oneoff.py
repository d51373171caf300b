"""One one-off container from nothing to nothing, image cached: ours beside bare runc and podman. Needs root.

    python bench/oneoff.py [--rounds 30] [--engine auto] [--here]

Ours is created, networked (veth, address, route), started, waited for and removed through the API. The bare engine
gets a bundle made beforehand and an empty network namespace; podman has the same engine, with and without a network.
Bare runc is measured beside, whatever the engine: it is the peer that needs no help of ours on any machine.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from disk import disk
from peers import Bare, bare, bench, interleave, podman, shield, table


def main(rounds: int, engine: str, *, here: bool) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk(here=here))
        ours = stack.enter_context(bench(engine))
        peer = stack.enter_context(podman(ours.site.root, ours.image, ours.engine))
        ways = {f"bare {ours.engine}": by_hand(stack.enter_context(bare(ours.engine)), rounds)}
        ways.setdefault("bare runc", by_hand(stack.enter_context(bare()), rounds))

        def through_the_api() -> None:
            events = [e.event for e in ours.client.run({"image": ours.image, "command": ["true"], "rm": True})]
            assert events[-2:] == ["exited", "removed"], events

        def command() -> None:
            subprocess.run(ours.site.argv("run", "--rm", ours.image, "true"), env=ours.site.environ, check=True)

        ways |= {"zlayer, API": through_the_api, "zlayer run --rm": command}
        if peer is not None:
            ways["podman run --rm"] = lambda: peer.run("--rm", peer.image, "true")
            ways["podman run --rm, no network"] = lambda: peer.bare_run("--rm", peer.image, "true")
        spent = interleave(ways, rounds)
        for against in dict.fromkeys((f"bare {ours.engine}", "bare runc")):
            table(spent, against)


def by_hand(engine: Bare, rounds: int) -> Callable[[], None]:
    """One more of its bundles at each call, where it works: a thread may see other mounts than its process."""
    bundles = []
    for number in range(rounds + 1):
        request = engine.box.request("true", name=f"b{number}")
        bundles.append((request.id, engine.bundle(request)))
    next_one = iter(bundles)
    pool = ThreadPoolExecutor(1, initializer=lambda: shield(engine.engine))
    return lambda: pool.submit(engine.run, *next(next_one)).result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="auto", help="crun, runc or youki; auto is what our daemon finds")
    parser.add_argument("--here", action="store_true", help="on /tmp as it is, journal or not")
    given = parser.parse_args()
    main(given.rounds, given.engine, here=given.here)
