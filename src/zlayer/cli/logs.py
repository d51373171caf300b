"""`zlayer logs`: what containers wrote."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from zlayer.cli import link
from zlayer.cli.parsing import add_deployment
from zlayer.cli.render.documents import as_line
from zlayer.cli.render.logs import Prefixer
from zlayer.cli.screen import Screen
from zlayer.client.calls import LogQuery
from zlayer.client.client import Client
from zlayer.client.results import LogLine

EXAMPLES = """
zlayer logs web              the last 100 lines of each replica
zlayer logs -f web           and go on
zlayer logs -f               all services of the deployment here
zlayer logs web -i 2 --since 10m -n all   replica 2, the last ten minutes
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", nargs="?", help="a service, DEPLOYMENT/SERVICE, a one-off, or nothing for all")
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
    prefixer = Prefixer(colour=screen.colour, prefix=not args.no_prefix, timestamps=args.timestamps)
    for line in lines(link.client(args), args):
        screen.data(as_line(line.document()) if args.format == "json" else prefixer.line(line))
    return 0


def lines(api: Client, args: argparse.Namespace) -> Iterator[LogLine]:
    """The lines asked for: of one instance by its id, of a service, or of a whole deployment."""
    replica = int(args.instance) if args.instance and args.instance.isdecimal() else None
    wanted = LogQuery(lines=args.lines, since=args.since, follow=args.follow)
    if args.instance and replica is None:
        return api.instance_logs(args.instance, wanted)
    if not args.service:
        if replica is not None:
            from zlayer.model.errors import Invalid

            raise Invalid("a replica number needs its service", hint="zlayer logs SERVICE -i N")
        return api.logs(link.deployment_named(api, args.deployment), wanted)
    name, service = link.container_of(api, args.service, args.deployment)
    if name == link.ONE_OFF:
        return api.instance_logs(service, wanted)
    return api.logs(name, wanted.but(service=service, replica=replica))
