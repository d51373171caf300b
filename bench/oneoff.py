"""One one-off container from nothing to nothing, image cached: ours beside bare runc and podman. Needs root.

    python bench/oneoff.py [--rounds 30]

Ours is created, networked (veth, address, route), started, waited for and removed through the API. Bare runc gets a
bundle made beforehand and an empty network namespace; podman runs with the same runtime, with and without a network.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
from collections.abc import Callable

from peers import bare, bench, interleave, podman, table


def main(rounds: int) -> None:
    with bench() as ours, bare() as runc, podman(ours.site.root, ours.image) as peer:
        numbers = itertools.count()
        bundles = []
        for number in range(rounds + 1):
            request = runc.box.request("true", name=f"b{number}")
            bundles.append((request.id, runc.bundle(request)))

        def through_the_api() -> None:
            events = [e.event for e in ours.client.run({"image": ours.image, "command": ["true"], "rm": True})]
            assert events[-2:] == ["exited", "removed"], events

        def command() -> None:
            subprocess.run(ours.site.argv("run", "--rm", ours.image, "true"), env=ours.site.environ, check=True)

        ways: dict[str, Callable[[], None]] = {
            "bare runc": lambda: runc.run(*bundles[next(numbers)]),
            "zlayer, API": through_the_api,
            "zlayer run --rm": command,
        }
        if peer is not None:
            ways["podman run --rm"] = lambda: peer.run("--rm", peer.image, "true")
            ways["podman run --rm, no network"] = lambda: peer.bare_run("--rm", peer.image, "true")
        table(interleave(ways, rounds), "bare runc")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    main(parser.parse_args().rounds)
