"""`zlayer pause`, `resume` and `abort`: a hand on the update under way."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer pause shop      nothing more is replaced; what serves goes on
zlayer resume shop     go on, or take the next step of a canary
zlayer abort shop      go back to the last good revision now
"""
DONE = {"pause": "paused", "resume": "going on", "abort": "going back to the last good revision"}


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", nargs="?", help="the deployment")
    parser.set_defaults(verb=parser.prog.split()[-1])


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    name = link.deployment_named(api, args.deployment)
    api.steer(name, args.verb)
    screen.note(f"{name} is {DONE[args.verb]}")
    return 0
