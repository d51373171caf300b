"""`zlayer spec`: the normalised form of a spec, and the schema of all of them. Needs no daemon."""

from __future__ import annotations

import argparse

from zlayer.cli import specfile
from zlayer.cli.parsing import add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer spec dump                     with every default written out
zlayer spec dump shop.zlayer.yml -f json
zlayer spec schema > zlayer.schema.json   for your editor
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    dump = add_subcommand(subs, "dump", "Show a spec in its normalised form")
    specfile.add_spec(dump)
    dump.add_argument("-f", "--format", choices=("yaml", "json"), default="yaml", help="default: yaml")
    add_subcommand(subs, "schema", "Print the JSON Schema of specs")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    if args.action == "schema":
        from zlayer.spec.schema import json_schema

        screen.data(as_text(json_schema(), "json"))
        return 0
    from zlayer.spec.dump import dump
    from zlayer.spec.load import load

    text, file = specfile.read(args.spec)
    screen.data(dump(load(text, file=args.spec or specfile.short(file)), args.format).rstrip("\n"))
    return 0
