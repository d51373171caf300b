"""`zlayer rollback`: go back to an earlier revision, and wait until it serves."""

from __future__ import annotations

import argparse

from zlayer.cli import deploy, link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer rollback shop       to the last good revision before this one
zlayer rollback shop 7     to revision 7, with the images it ran
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", help="the deployment")
    parser.add_argument("revision", nargs="?", type=int, help="as `zlayer history` numbers them")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="to be stable in (120)")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    done = api.rollback(args.deployment, args.revision)
    if not done.changed:
        screen.note(f"{args.deployment} is as it was then: nothing to do")
    return deploy.settle(api, args.deployment, screen, args.timeout, changed=done.changed)
