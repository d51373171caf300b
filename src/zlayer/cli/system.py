"""`zlayer system`: what images take on disk, and giving it back."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.render.tiers import tier
from zlayer.cli.render.times import ago, size
from zlayer.cli.screen import Screen
from zlayer.cli.units import duration

EXAMPLES = """
zlayer system df
zlayer system prune --dry-run          what would go
zlayer system prune -a --older-than 7d
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_format(add_subcommand(subs, "df", "Show what images take on disk, and how the S3 tier stands"))
    prune = add_subcommand(subs, "prune", "Give back what nothing needs")
    prune.add_argument("-a", "--all", action="store_true", help="also images with a name that nothing runs")
    prune.add_argument("--older-than", metavar="TIME", type=duration, default=0.0, help="with -a: not used for so long")
    prune.add_argument("-n", "--dry-run", action="store_true", help="only say what would go")
    add_format(prune)


def run(args: argparse.Namespace) -> int:
    return usage(args) if args.action == "df" else prune(args)


def usage(args: argparse.Namespace) -> int:
    screen, found = Screen.of(args), link.client(args).disk_usage()
    if args.format != "table":
        screen.data(as_text(found.document(), args.format))
        return 0
    now = time.time()
    rows = []
    for one in found.images:
        sizes = [size(each) for each in (one.size, one.alone, one.shared)]
        rows.append([one.reference, *sizes, "yes" if one.in_use else "-", ago(one.used_at, now)])
    screen.data(table(("IMAGE", "SIZE", "ALONE", "SHARED", "IN USE", "USED"), rows, colour=screen.colour))
    screen.data(
        f"\nlayers {size(found.layers)}, packed {size(found.blobs)}; {size(found.reclaimable)} can be given back"
    )
    screen.data(f"disk: {size(found.free)} free of {size(found.disk)}")
    for each in found.s3:
        screen.data(tier(each))
    return 0


def prune(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    done = link.client(args).prune(unused=args.all, older_than=args.older_than, dry_run=args.dry_run)
    if args.format != "table":
        screen.data(as_text(done.document(), args.format))
        return 0
    for piece in done.pieces:
        screen.data(f"{piece.kind:<7} {size(piece.size):>9}  {piece.name}  ({piece.why})")
    screen.note(f"{size(done.bytes)} {'would be ' if args.dry_run else ''}given back")
    return 0
