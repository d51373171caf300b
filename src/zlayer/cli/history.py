"""`zlayer history`: the revisions of a deployment."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.render.times import ago
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer history shop     what changed, when, and what became of it
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", nargs="?", help="the deployment")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    found = api.history(link.deployment_named(api, args.deployment))
    if args.format != "table":
        screen.data(as_text([each.document() for each in found], args.format))
        return 0
    now = time.time()
    rows = [[str(one.revision), one.status, ago(one.at, now), one.what, one.reason] for one in found]
    screen.data(table(("REVISION", "STATUS", "WHEN", "CHANGE", "REASON"), rows, colour=screen.colour))
    return 0
