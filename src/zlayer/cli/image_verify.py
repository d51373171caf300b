"""`zlayer image verify`: whether what is kept of images is whole."""

from __future__ import annotations

import argparse
from typing import Any

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.pull import finish
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.progress import Blobs, short
from zlayer.cli.render.table import table
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.client.image_results import Fault, Verified
from zlayer.client.results import PullProgress

BAD = 1
"""Exit code when something is bad and stayed so."""


def register(subs: Any) -> None:  # Any: argparse's own type has no public name
    parser = add_subcommand(subs, "verify", "Look whether what is kept of images is whole")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="these; none: all that is kept")
    parser.add_argument("--repair", action="store_true", help="drop what is bad and pull it again")
    add_format(parser)


def run(args: argparse.Namespace, screen: Screen) -> int:
    found = _outcome(args, screen)
    if args.format != "table":
        screen.data(as_text(found.document(), args.format))
    else:
        if found.faults:
            rows = [_row(one) for one in found.faults]
            screen.data(table(("KIND", "NAME", "STATE", "PROBLEM", "IMAGES"), rows, colour=screen.colour))
        amount = f"{found.images} images, {found.layers} layers, {found.blobs} blobs of {size(found.size)}"
        bad = sum(one.bad for one in found.faults)
        screen.note(f"looked at {amount}: {f'{bad} bad' if bad else 'nothing is bad'}")
        if bad and not args.repair:
            screen.note("hint: `zlayer image verify --repair` drops what is bad and pulls it again")
    return BAD if any(one.bad for one in found.faults) else 0


def _outcome(args: argparse.Namespace, screen: Screen) -> Verified:
    blobs = Blobs()
    verified = Verified(images=0)
    for item in link.client(args).verify(args.images, repair=args.repair):
        if isinstance(item, PullProgress):
            blobs.add(item)
            if screen.live and args.format == "table":
                screen.draw(blobs.lines(screen.width))
        else:
            finish(screen, blobs, quiet=args.format != "table")
            verified = item
    return verified


def _row(one: Fault) -> list[str]:
    state = "given back" if one.kind == "packed" else one.state
    problem = f"{one.problem} ({one.note})" if one.note else one.problem
    return [
        one.kind,
        one.name if one.kind == "record" else short(one.name),
        state,
        problem,
        ", ".join(one.images) or "-",
    ]
