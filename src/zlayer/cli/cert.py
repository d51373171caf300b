"""`zlayer cert`: certificates of https endpoints."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.render.colour import state, visible
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.render.times import away, rfc3339
from zlayer.cli.screen import Screen
from zlayer.client.client import Client
from zlayer.client.results import Certificate
from zlayer.model.errors import Deadline, Failed, Unavailable

EXAMPLES = """
zlayer cert ls                             every certificate, when it ends and when it is renewed
zlayer cert show shop.example.org          all about one, and why its last try failed
zlayer cert show shop.example.org --pem | openssl x509 -noout -text
zlayer cert renew shop.example.org         get a new one now, and wait for it
"""
LOOK_AGAIN = 0.25


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_format(add_subcommand(subs, "ls", "List certificates, when they end and when they are renewed"))
    show = add_subcommand(subs, "show", "Show all that is known of a certificate")
    show.add_argument("name", metavar="NAME", help="as `cert ls` shows it")
    show.add_argument("--pem", action="store_true", help="print the chain and nothing else")
    add_format(show)
    renew = add_subcommand(subs, "renew", "Get a new certificate now, or read its files again")
    renew.add_argument("name", metavar="NAME", help="as `cert ls` shows it")
    renew.add_argument("--no-wait", action="store_true", help="return once the wish is durable")
    renew.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="default: 300")


def run(args: argparse.Namespace) -> int:
    screen, api = Screen.of(args), link.client(args)
    if args.action == "ls":
        found = api.certificates()
        documents = [{k: v for k, v in one.document().items() if k != "chain"} for one in found]
        text = listing(found, time.time(), colour=screen.colour)
        screen.data(text if args.format == "table" else as_text(documents, args.format))
    elif args.action == "show":
        one = api.certificate(args.name)
        if args.pem and not one.chain:
            raise Unavailable(f"{one.name} is not there yet", hint=one.error or "it is on its way")
        text = one.chain.rstrip("\n") if args.pem else facts(one, time.time(), colour=screen.colour)
        plain = args.pem or args.format == "table"
        screen.data(text if plain else as_text(one.document(), args.format))
    else:
        api.renew(args.name)
        if not args.no_wait:
            done = renewed(api, args.name, args.timeout)
            screen.note(f"{done.name} has serial {done.serial} and ends {away(done.not_after, time.time())}")
    return 0


def renewed(api: Client, name: str, timeout: float) -> Certificate:
    """The certificate once the wish is answered. `Failed` with why it was not granted, `Deadline` after `timeout`."""
    end = time.monotonic() + timeout
    while True:
        found = _there(api, name)
        if found is not None and not found.asked and found.state != "pending":
            if found.error:
                raise Failed(f"{name}: {found.error}", hint=f"what works stays; see: zlayer cert show {name}")
            return found
        if time.monotonic() > end:
            hint = f"it goes on; see: zlayer cert show {name}"
            raise Deadline(f"{name} has no new certificate after {timeout:g} seconds", hint=hint)
        time.sleep(LOOK_AGAIN)


def _there(api: Client, name: str) -> Certificate | None:
    """None while the daemon starts anew: the wish is kept."""
    try:
        return api.certificate(name)
    except Unavailable:
        return None


def listing(found: Sequence[Certificate], now: float, *, colour: bool) -> str:
    rows = [
        [
            one.name,
            state(one.state, colour=colour),
            one.source or "",
            away(one.not_after, now),
            _next(one, now),
            ", ".join(one.users),
        ]
        for one in found
    ]
    return table(("NAME", "STATE", "SOURCE", "ENDS", "NEXT", "USED BY"), rows, colour=colour)


def _next(one: Certificate, now: float) -> str:
    """What will happen to it by itself."""
    if one.ordering or one.asked:
        return "now"
    if one.next_try and one.state != "valid":
        return f"try {away(one.next_try, now)}"
    return f"renewal {away(one.renew_at, now)}" if one.renew_at else ""


def facts(one: Certificate, now: float, *, colour: bool) -> str:
    """`name  value` lines, what is empty left out."""

    def at(when: str | None) -> str:
        return f"{rfc3339(when)} ({away(when, now)})" if when else ""

    told = {
        "source": one.source or "",
        "names": ", ".join(one.names),
        "used by": ", ".join(one.users),
        "issuer": one.issuer,
        "authority": one.authority,
        "serial": one.serial,
        "begins": at(one.not_before),
        "ends": at(one.not_after),
        "renewal": at(one.renew_at),
        "order": "under way" if one.ordering else "",
        "error": one.error,
        "tries": f"{one.failures} failed, the last {away(one.tried_at, now)}" if one.failures else "",
        "next try": at(one.next_try) if one.error else "",
        "note": one.note,
        "advice": one.advice,
        "unused": at(one.unused_since),
    }
    lines = [f"{'name':<12} {one.name}", f"{'state':<12} {state(one.state, colour=colour)}"]
    return "\n".join([*lines, *(f"{name:<12} {visible(value)}" for name, value in told.items() if value)])
