"""`zlayer logs`: what containers wrote."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.parsing import add_deployment
from zlayer.cli.render.documents import as_line
from zlayer.cli.render.logs import Prefixer
from zlayer.cli.screen import Screen
from zlayer.client.calls import LogQuery

EXAMPLES = """
zlayer logs web              the last 100 lines of each replica
zlayer logs -f web           and go on
zlayer logs -f               all services of the deployment here
zlayer logs web -i 2 --since 10m -n all   replica 2, the last ten minutes
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", nargs="?", help="a service, DEPLOYMENT/SERVICE, or nothing for all")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    add_deployment(parser)
    parser.add_argument("-i", "--instance", metavar="N", help="only this replica, by number or id")
    parser.add_argument("--since", metavar="WHEN", help="a duration ago (10m) or a time (RFC 3339)")
    parser.add_argument("-n", "--lines", "--tail", type=count, default=100, metavar="N", help="last lines, or all")
    parser.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")
    parser.add_argument("--no-prefix", action="store_true", help="without the replica before each line")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object a line")


def count(text: str) -> int | None:
    """`all` or a number of lines."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of lines nor `all`")
    return int(text)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    service: str | None = None
    if args.service:
        name, service = link.deployment_of(api, args.service, args.deployment)
    else:
        name = link.deployment_named(api, args.deployment)
    wanted = LogQuery(service=service, instance=args.instance, lines=args.lines, since=args.since, follow=args.follow)
    prefixer = Prefixer(colour=screen.colour, prefix=not args.no_prefix, timestamps=args.timestamps)
    for line in api.logs(name, wanted):
        screen.data(as_line(line.document()) if args.format == "json" else prefixer.line(line))
    return 0
