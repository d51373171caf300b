"""The argument parser of one verb: its own options, and the global ones everywhere."""

from __future__ import annotations

import argparse
import os
from types import ModuleType

from zlayer.cli.verbs import VERBS


class HelpText(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; argparse would import shutil (3 ms) to know, even where no help is asked for."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(100, _columns() - 2), max_help_position=30)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (ValueError, OSError):
        return 80


class VerbParser(argparse.ArgumentParser):
    """Long options in full only: an abbreviation that works today breaks when an option is added."""

    def __init__(self, **options: object) -> None:
        options.setdefault("formatter_class", HelpText)
        options.setdefault("conflict_handler", "resolve")  # `run -v` is a volume, as in docker
        super().__init__(**options, allow_abbrev=False)  # type: ignore[arg-type]  # passed through to argparse


def build(verb: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = VerbParser(prog=f"zlayer {verb}", description=described(verb, module))
    add_globals(parser)
    module.register(parser)
    return parser


def described(verb: str, module: ModuleType) -> str:
    """One line, then the examples: people copy before they read."""
    examples = "\n".join(f"  {line}".rstrip() for line in module.EXAMPLES.strip().splitlines())
    return f"{VERBS[verb][1]}.\n\nexamples:\n{examples}"


def add_globals(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """`again` for subcommands: an option not given there must not undo the one given before."""
    default = argparse.SUPPRESS if again else None
    group = parser.add_argument_group("global options")
    group.add_argument("--data-dir", metavar="DIR", default=default, help="the daemon's data directory")
    group.add_argument("-v", "--verbose", action="count", default=default if again else 0, help="say more")
    group.add_argument("--no-color", action="store_true", default=default or False, help="no colours")


def parse(verb: str, module: ModuleType, argv: list[str]) -> argparse.Namespace:
    """Read a command line. Ends the process as argparse does on --help (0) and on a usage error (2).

    A module may read its own line with `parse(parser, argv)`: `exec` and `run` take a command behind theirs.
    """
    parser = build(verb, module)
    own = getattr(module, "parse", None)
    args: argparse.Namespace = own(parser, argv) if own else parser.parse_args(argv)
    return args


def add_subcommand(
    subs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, line: str
) -> argparse.ArgumentParser:
    parser = subs.add_parser(name, help=line, description=f"{line}.")
    add_globals(parser, again=True)
    return parser


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table", help="default: table")


def add_deployment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deployment", metavar="NAME", help="needed when several have the service")
