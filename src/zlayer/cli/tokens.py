"""`zlayer token`: bearer tokens for the TCP API, signed with the key in the data directory. Needs no daemon."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link
from zlayer.cli.parsing import add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.times import lasting, rfc3339
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer token create                         an administrator's, for a day
zlayer token create -s ci -r operator -H 1
ZLAYER_HOST=https://node1:3669 ZLAYER_TOKEN=$(zlayer token create) zlayer ps
zlayer token decode TOKEN
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = add_subcommand(subs, "create", "Print a new token")
    create.add_argument("-s", "--subject", default="cli", help="who it is for (cli)")
    create.add_argument(
        "-r", "--role", action="append", dest="roles", metavar="ROLE", help="admin (default), operator or reader"
    )
    create.add_argument("-H", "--hours", type=float, default=24.0, help="how long it is good for (24)")
    decode = add_subcommand(subs, "decode", "Check a token and show what it says")
    decode.add_argument("token", metavar="TOKEN")
    decode.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    from zlayer.daemon import tokens  # the one room that may read the key
    from zlayer.model.units import Seconds

    screen = Screen.of(args)
    key = link.paths(args).jwt_key
    if args.action == "create":
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = tokens.create_token(
            tokens.ensure_key(key),
            subject=args.subject,
            roles=args.roles or ["admin"],
            lifetime=Seconds(args.hours * 3600),
        )
        screen.data(token)
        return 0
    claims = tokens.decode_token(tokens.load_key(key), args.token)
    facts = {
        "subject": claims.subject,
        "roles": sorted(claims.roles),
        "expires": rfc3339(claims.expires),
    }
    if args.format == "json":
        screen.data(as_text(facts, "json"))
        return 0
    screen.data(f"subject  {claims.subject}\nroles    {', '.join(sorted(claims.roles))}")
    if claims.expires is not None:
        left = lasting(max(0.0, claims.expires - time.time()))
        screen.data(f"expires  {rfc3339(claims.expires)} (in {left})")
    return 0
