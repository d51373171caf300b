"""`zlayer rm`: end and remove one-off containers."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link
from zlayer.cli.screen import Screen
from zlayer.client.client import Client

EXAMPLES = """
zlayer rm run-run-1-24in4bsz     by id, as `zlayer ps -c` shows it
zlayer rm queue                  by the --name it was run with
zlayer rm --ended                all that have ended
"""

LOOK_AGAIN = 0.05


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", help="ids or names of `zlayer run` containers")
    parser.add_argument("--ended", action="store_true", help="every one that has ended")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="to be gone in (60)")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    listed = api.containers(link.ONE_OFF)
    chosen = [c.id for c in listed if args.ended and c.state in {"exited", "failed", "lost"}]
    chosen += [one.id if (one := link.meant(listed, word)) else word for word in args.containers]
    if not args.ended and not args.containers:
        from zlayer.model.errors import Invalid

        raise Invalid("which container?", hint="name one of `zlayer ps -c`, or use --ended")
    for name in dict.fromkeys(chosen):
        api.remove_container(name)
    await_gone(api, set(chosen), args.timeout)
    for name in dict.fromkeys(chosen):
        screen.data(name)
    return 0


def await_gone(api: Client, wanted: set[str], timeout: float) -> None:
    """Wait until none of these is listed. One-offs have no stream of their own, so the list is read again."""
    end = time.monotonic() + timeout
    while left := wanted & {c.id for c in api.containers(link.ONE_OFF)}:
        if time.monotonic() > end:
            from zlayer.model.errors import Deadline

            raise Deadline(f"not gone after {timeout:g} seconds: {', '.join(sorted(left))}", hint="zlayer ps -c")
        time.sleep(LOOK_AGAIN)
