"""`zlayer registry`: a registry of our own, its users, and what it keeps. Needs no daemon."""

from __future__ import annotations

import argparse
import sys

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_globals, add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.render.times import size as sized
from zlayer.cli.screen import Screen
from zlayer.cli.units import duration, size
from zlayer.model.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from zlayer.registry.grants import Grant

EXAMPLES = """
zlayer registry serve --anonymous                      on 127.0.0.1:5000, for this machine
pass show ci | zlayer registry user add ci --right pull --right push --password-stdin
pass show web | zlayer registry user add web --allow 'team/*:pull,push' --allow 'base/*:pull' --password-stdin
zlayer registry serve --bind 0.0.0.0:5000 --tls-cert cert.pem --tls-key key.pem
zlayer registry serve --anonymous-pull --proxy hub=https://registry.example
zlayer registry ls
zlayer registry gc --dry-run
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _serve_options(_add(subs, "serve", "Serve a registry in the foreground"))
    listing = _add(subs, "ls", "List repositories and their tags")
    add_format(listing)
    collect = _add(subs, "gc", "Delete content that no manifest needs")
    collect.add_argument("--dry-run", action="store_true", help="only say what would go")
    collect.add_argument("--untagged", action="store_true", help="also delete manifests without a tag")
    collect.add_argument(
        "--grace", type=duration, default=3600.0, metavar="TIME", help="leave what is younger alone (1h)"
    )
    user = subs.add_parser("user", help="Add, list or remove users", description="Add, list or remove users.")
    add_globals(user, again=True)
    users = user.add_subparsers(dest="user_action", required=True, metavar="ACTION")
    add = _add(users, "add", "Add a user, or change one's password and rights")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--right",
        action="append",
        dest="rights",
        choices=("pull", "push", "delete"),
        help="in all repositories; again for more (pull, without --allow)",
    )
    add.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PATTERN:RIGHTS",
        help="rights in some repositories, as 'team/*:pull,push'; again for more",
    )
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_format(_add(users, "ls", "List users and their rights"))
    _add(users, "rm", "Remove a user").add_argument("name", metavar="NAME")


def _add(subs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, line: str) -> argparse.ArgumentParser:
    parser = add_subcommand(subs, name, line)
    parser.add_argument("--root", metavar="DIR", help="where the registry keeps all (registry/ in the data directory)")
    return parser


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bind", default="127.0.0.1:5000", metavar="HOST:PORT", help="default: 127.0.0.1:5000")
    parser.add_argument("--anonymous", action="store_true", help="let everybody do all; on loopback only")
    parser.add_argument("--anonymous-pull", action="store_true", help="let everybody pull")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, PEM")
    parser.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="serve NAME/... from another registry and keep it; *=URL for all names; again for more",
    )
    parser.add_argument(
        "--fresh", type=duration, default=60.0, metavar="TIME", help="ask for a proxied tag again after this (60s)"
    )
    parser.add_argument("--max-blob", type=size, default=1 << 40, metavar="SIZE", help="largest blob taken (1t)")
    parser.add_argument("--log-format", choices=("json", "text"), default="json", help="default: json")


def run(args: argparse.Namespace) -> int:
    if args.action == "user":
        return {"add": _user_add, "ls": _user_ls, "rm": _user_rm}[args.user_action](args)
    return {"serve": _serve, "ls": _ls, "gc": _gc}[args.action](args)


def _root(args: argparse.Namespace) -> Path:
    from pathlib import Path

    return Path(args.root).absolute() if args.root else link.paths(args).root / "registry"


def _serve(args: argparse.Namespace) -> int:
    from pathlib import Path

    from zlayer.daemon.registry import Serving, serve

    screen = Screen.of(args)
    wanted = Serving(
        root=_root(args),
        bind=args.bind,
        anonymous=args.anonymous,
        anonymous_pull=args.anonymous_pull,
        tls_cert=Path(args.tls_cert) if args.tls_cert else None,
        tls_key=Path(args.tls_key) if args.tls_key else None,
        proxies=tuple(args.proxy),
        fresh=args.fresh,
        most=args.max_blob,
        log_format=args.log_format,
    )
    serve(link.paths(args), wanted, on_ready=lambda address: screen.data(f"zlayer registry serves {address}"))
    return 0


def _ls(args: argparse.Namespace) -> int:
    from zlayer.registry.inventory import inventory

    screen, found = Screen.of(args), inventory(_root(args))
    if args.format != "table":
        screen.data(as_text([one.document() for one in found], args.format))
        return 0
    rows = [[one.repository, one.tag, one.digest[:19], sized(one.size)] for one in found]
    screen.data(table(("REPOSITORY", "TAG", "DIGEST", "SIZE"), rows, colour=screen.colour))
    return 0


def _gc(args: argparse.Namespace) -> int:
    from zlayer.registry.garbage import Collector
    from zlayer.registry.repositories import Repositories

    root, screen = _root(args), Screen.of(args)
    if not root.is_dir():
        raise Invalid(f"there is no registry at {root}", hint="name it with --root")
    swept = Collector(Repositories(root), grace=args.grace).run(dry=args.dry_run, untagged=args.untagged)
    for repository, digest in swept.manifests:
        screen.data(f"{repository}@{digest}")
    for digest in swept.blobs:
        screen.data(digest)
    verb = "would delete" if args.dry_run else "deleted"
    screen.note(
        f"{verb} {len(swept.blobs)} blobs ({sized(swept.freed)}), {len(swept.manifests)} manifests,"
        f" {swept.uploads} expired uploads"
    )
    return 0


def _user_add(args: argparse.Namespace) -> int:
    from zlayer.registry.grants import EVERYWHERE, grant, parse_grant
    from zlayer.registry.users import Users, merged

    grants = [parse_grant(text) for text in args.allow]
    if rights := args.rights or ([] if grants else ["pull"]):
        grants.append(grant(EVERYWHERE, rights))
    new = Users(_root(args) / "users.json").add(args.name, _password(args), grants)
    Screen.of(args).note(f"{'added' if new else 'changed'} {args.name}: {_said(merged(grants))}")
    return 0


def _user_ls(args: argparse.Namespace) -> int:
    from zlayer.registry.users import Users

    screen, found = Screen.of(args), Users(_root(args) / "users.json").all()
    if args.format != "table":
        screen.data(as_text([{"name": user.name, **user.document()} for user in found], args.format))
        return 0
    rows = [[user.name, _said(user.grants)] for user in found]
    screen.data(table(("USER", "RIGHTS"), rows, colour=screen.colour))
    return 0


def _said(grants: Iterable[Grant]) -> str:
    """As `--allow` takes them; rights in all repositories without a pattern."""
    return " ".join(str(one).removeprefix("*:") for one in grants)


def _user_rm(args: argparse.Namespace) -> int:
    from zlayer.registry.users import Users

    Users(_root(args) / "users.json").remove(args.name)
    Screen.of(args).note(f"removed {args.name}")
    return 0


def _password(args: argparse.Namespace) -> str:
    """Never an argument: those are for everybody on the machine to read."""
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask at", hint="use --password-stdin")
    from getpass import getpass

    return getpass("Password: ")
