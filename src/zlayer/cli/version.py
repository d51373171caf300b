"""`zlayer version`."""

from __future__ import annotations

import argparse

from zlayer import __version__
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer version                  of this command
zlayer version --format json
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    import platform

    from zlayer.cli.render.documents import as_text

    screen = Screen.of(args)
    if args.format == "json":
        facts = {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
        screen.data(as_text(facts, "json"))
    else:
        screen.data(f"zlayer {__version__}")
    return 0
