"""The spec a verb works on: the file named, or the one found in this directory."""

from __future__ import annotations

import sys
from pathlib import Path

from zlayer.model.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser


def add_spec(parser: ArgumentParser) -> None:
    parser.add_argument("spec", nargs="?", help="the spec file, or - for stdin; else the one found here")


def read(given: str | None) -> tuple[str, str]:
    """The text of the spec and its absolute path, which relative binds in it start from.

    `NotFound` or `Invalid` say what was looked for.
    """
    if given == "-":
        return sys.stdin.read(), str(Path.cwd() / "<stdin>")
    if given is None:
        from zlayer.spec.discover import discover

        path = discover(Path.cwd())
    else:
        path = Path(given)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"no spec file {given}", hint="look at the path, or leave it out to find one here") from None
    except OSError as error:
        raise Invalid(f"cannot read {path} as a spec: {error.strerror}", hint="name a YAML file you may read") from None
    try:
        return data.decode("utf-8-sig"), str(path.absolute())
    except UnicodeDecodeError:
        from zlayer.spec.load import decode  # says where; costs what `up` of a good file need not pay

        return decode(data, file=str(path)), str(path.absolute())


def short(file: str) -> str:
    """A path as the user would name it from here."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
