"""`zlayer stop`: stop containers and keep the deployment."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer stop             the deployment of the spec here; `up` starts it again
zlayer stop shop -s web only one service
zlayer stop shop -t 0   kill at once
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", nargs="?", help="the deployment")
    parser.add_argument("-s", "--service", help="only this service")
    parser.add_argument(
        "-t", "--time", type=float, metavar="SECONDS", help="between the stop signal and the kill (else the spec's)"
    )


def run(args: argparse.Namespace) -> int:
    from zlayer.cli import follow

    screen = Screen.of(args)
    api = link.client(args)
    name = link.deployment_named(api, args.deployment)
    api.stop(name, service=args.service, grace=args.time)
    follow.until(api, name, screen, follow.stopped(args.service), timeout=(args.time or 30.0) + 60.0, goal="stopped")
    screen.note(f"{name}/{args.service} is stopped" if args.service else f"{name} is stopped")
    return 0
