"""`zlayer doctor`: does this machine have what it takes, and what to do where it does not."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.render.colour import paint
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer doctor                  exit code 1 when something is broken
zlayer doctor --format json
"""

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    from zlayer.daemon.doctor import run as examine  # looks at the machine with the drivers' own probes

    screen = Screen.of(args)
    findings = examine(link.paths(args))
    broken = any(finding.level == "fail" for finding in findings)
    if args.format != "table":
        names = ("name", "level", "message", "fix")
        docs = [{name: getattr(finding, name) for name in names} for finding in findings]
        screen.data(as_text(docs, args.format))
        return int(broken)
    rows = [[paint(f.level, COLOURS.get(f.level, ""), colour=screen.colour), f.name, f.message] for f in findings]
    screen.data(table(("", "CHECK", "FOUND"), rows, colour=screen.colour))
    for finding in findings:
        if finding.level != "ok" and finding.fix:
            screen.data(f"{finding.name}: {finding.fix}")
    return int(broken)
