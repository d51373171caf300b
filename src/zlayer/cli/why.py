"""`zlayer why`: what a service waits for."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.documents import as_text
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer why web                    of the only deployment, or the one of the spec here
zlayer why --deployment shop web
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", help="the service")
    parser.add_argument("--deployment", metavar="NAME", help="its deployment")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    found = api.why(link.deployment_named(api, args.deployment), args.service)
    if args.format != "table":
        screen.data(as_text([each.document() for each in found], args.format))
    elif not found:
        screen.data(f"{args.service} waits for nothing")
    for one in found if args.format == "table" else ():
        who = f"{args.service}-{one.replica}" if one.replica else args.service
        screen.data(f"{who}: {one.reason}" + (f" (until {one.until})" if one.until else ""))
    return 0
