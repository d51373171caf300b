"""`zlayer login`, `zlayer logout`: the daemon's logins at registries."""

from __future__ import annotations

import argparse
import sys

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.screen import Screen
from zlayer.model.errors import Invalid

EXAMPLES = """
zlayer login ghcr.io -u octocat                        asks for the password
pass show ghcr | zlayer login ghcr.io -u octocat --password-stdin
zlayer login                                           lists who is logged in where
zlayer logout ghcr.io
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", help="HOST or HOST:PORT, as images name it")
    if parser.prog.split()[-1] == "logout":
        return
    parser.add_argument("-u", "--username", metavar="USER", help="asked for when not given")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen, api = Screen.of(args), link.client(args)
    if "username" not in args:
        if not args.registry:
            raise Invalid("which registry?", hint="zlayer logout REGISTRY; `zlayer login` lists them")
        screen.note(f"logged out of {api.logout(args.registry).registry}")
        return 0
    if not args.registry:
        _list(args, screen)
        return 0
    username = args.username or _ask("Username: ")
    done = api.login(args.registry, username, _password(args))
    screen.note(f"logged in to {done.registry} as {done.username}")
    return 0


def _list(args: argparse.Namespace, screen: Screen) -> None:
    found = link.client(args).logins()
    if args.format == "table":
        rows = [[one.registry, one.username] for one in found]
        screen.data(table(("REGISTRY", "USER"), rows, colour=screen.colour))
    else:
        screen.data(as_text([one.document() for one in found], args.format))


def _password(args: argparse.Namespace) -> str:
    """Never an argument: those are for everybody on the machine to read."""
    if args.password_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        _terminal("--password-stdin")
        from getpass import getpass

        text = getpass("Password: ")
    if not text:
        raise Invalid("the password is empty", hint="nothing was sent to the registry")
    return text


def _ask(prompt: str) -> str:
    _terminal("-u USER and --password-stdin")
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask at", hint=f"use {instead}")
