"""`zlayer validate`: every fault of a spec at once. Needs no daemon."""

from __future__ import annotations

import argparse

from zlayer.cli import specfile
from zlayer.cli.render.colour import paint
from zlayer.cli.render.documents import as_text
from zlayer.cli.screen import Screen
from zlayer.model.errors import Invalid

EXAMPLES = """
zlayer validate                 the spec in this directory
zlayer validate shop.zlayer.yml --format json
"""


def register(parser: argparse.ArgumentParser) -> None:
    specfile.add_spec(parser)
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    from zlayer.spec.load import load

    screen = Screen.of(args)
    text, file = specfile.read(args.spec)
    file = args.spec or specfile.short(file)
    try:
        spec = load(text, file=file)
    except Invalid as error:
        if args.format == "table":
            raise
        errors = error.document().get("errors", [])
        screen.data(as_text({"valid": False, "errors": errors}, args.format))
        return error.exit_code
    if args.format == "table":
        count = len(spec.services)
        fine = paint("valid", "green", colour=screen.colour)
        screen.data(f"{file}: {fine}, {count} service{'s' if count != 1 else ''}")
    else:
        screen.data(as_text({"valid": True, "errors": []}, args.format))
    return 0
