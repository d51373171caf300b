"""`zlayer down`: remove a deployment, wait until nothing of it is left."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer down          the deployment of the spec here, or the only one
zlayer down shop     this one
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the deployment")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="to be gone in (120)")


def run(args: argparse.Namespace) -> int:
    from zlayer.cli import follow

    screen = Screen.of(args)
    api = link.client(args)
    name = link.deployment_named(api, args.name)
    api.remove(name)
    follow.until_gone(api, name, screen, args.timeout)
    screen.note(f"{name} is gone")
    return 0
