"""`zlayer up`: send a spec and stay with it, until Ctrl-C stops it."""

from __future__ import annotations

import argparse

from zlayer.cli import deploy, link, specfile
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer up                  start what the spec here says; Ctrl-C stops it
zlayer up -d               return when it is stable, or fail and say why
zlayer up -b               return at once
zlayer up shop.zlayer.yml --dry-run   print the plan, change nothing
"""


def register(parser: argparse.ArgumentParser) -> None:
    specfile.add_spec(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-d", "--detach", action="store_true", help="return when it is stable")
    how.add_argument("-b", "--background", action="store_true", help="return at once")
    deploy.add_options(parser)
    parser.add_argument("--no-prefix", action="store_true", help="logs without the replica before each line")
    parser.add_argument("-t", "--timestamps", action="store_true", help="logs with their time")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    text, file = specfile.read(args.spec)
    api = link.client(args)
    plan = api.plan(text, file=file, pull=args.pull)
    if args.dry_run:
        return deploy.show_plan(plan, screen, args.format)
    accepted = deploy.send(api, args, plan, screen, (text, file))
    name = accepted.deployment
    if args.background:
        screen.note(f"{name} is on its way; `zlayer ps` shows how it goes")
        return 0
    if args.detach:
        return deploy.settle(api, name, screen, args.timeout, changed=accepted.changed)
    from zlayer.cli.foreground import Foreground

    return Foreground(api, accepted, screen, args).run()
