"""`zlayer events`: what happened."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.render.colour import paint, visible
from zlayer.cli.render.documents import as_line
from zlayer.cli.render.times import rfc3339
from zlayer.cli.screen import Screen
from zlayer.client.results import Event

EXAMPLES = """
zlayer events              what the daemon still remembers
zlayer events -f           what happens from now on, too
zlayer events --since 1h --format json
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--since", metavar="WHEN", help="a duration ago (10m) or a time (RFC 3339)")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="json: one object a line")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    for event in api.events(since=args.since, follow=args.follow):
        screen.data(as_line(event.document()) if args.format == "json" else line(event, colour=screen.colour))
    return 0


def line(event: Event, *, colour: bool) -> str:
    """`TIME  instance.ready  shop/web  message`."""
    about = "/".join(part for part in (event.deployment, event.service) if part) or event.node
    when = paint(rfc3339(event.at), "dim", colour=colour)
    return "  ".join(part for part in (when, event.kind, about, visible(event.message) or event.instance) if part)
