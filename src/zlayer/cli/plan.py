"""`zlayer plan`: what an `up` would do, and why; nothing is changed."""

from __future__ import annotations

import argparse

from zlayer.cli import deploy, link, specfile
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer plan                        of the spec here
zlayer plan shop.zlayer.yml --format json
"""


def register(parser: argparse.ArgumentParser) -> None:
    specfile.add_spec(parser)
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    text, file = specfile.read(args.spec)
    return deploy.show_plan(link.client(args).plan(text, file=file, pull=None), Screen.of(args), args.format)
