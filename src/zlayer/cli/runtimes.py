"""`zlayer runtimes`: what can run containers here."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.colour import paint
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer runtimes     which work, which one is used, and what the others lack
"""


def register(parser: argparse.ArgumentParser) -> None:
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    found = link.client(args).runtimes()
    if args.format != "table":
        screen.data(as_text([each.document() for each in found], args.format))
        return 0
    rows = []
    for each in found:
        works = paint("yes" if each.ok else "no", "green" if each.ok else "red", colour=screen.colour)
        note = "; ".join(part for part in (each.reason, each.fix) if part)
        rows.append([each.name, works, "*" if each.selected else "", each.engine, note])
    screen.data(table(("RUNTIME", "WORKS", "USED", "ENGINE", "NOTE"), rows, colour=screen.colour))
    return 0
