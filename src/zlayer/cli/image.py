"""`zlayer image`: local images."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import image_artifacts, image_send, image_trust, image_verify, link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.progress import short
from zlayer.cli.render.table import table
from zlayer.cli.render.times import ago, size
from zlayer.cli.screen import Screen

COMMAND = 60
"""Characters of a command that a table shows."""
EXAMPLES = """
zlayer image ls
zlayer image inspect alpine:3.20
zlayer image history alpine:3.20
zlayer image trust alpine:3.20
zlayer image rm alpine:3.20 redis:7
zlayer image verify --repair
zlayer image send shop/web:2 https://node2:3669 --token-file node2.token
zlayer image attach localhost:5000/shop/web:2 web.spdx.json --type application/spdx+json
zlayer image sbom localhost:5000/shop/web:2
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls = add_subcommand(subs, "ls", "List local images")
    ls.add_argument("-q", "--quiet", action="store_true", help="references only")
    add_format(ls)
    rm = add_subcommand(subs, "rm", "Remove images, and the layers nothing else needs")
    rm.add_argument("images", nargs="+", metavar="IMAGE")
    history = add_subcommand(subs, "history", "Show how an image came to be, newest first")
    history.add_argument("image", metavar="IMAGE")
    history.add_argument("--no-trunc", action="store_true", help="whole commands")
    add_format(history)
    image_verify.register(subs)
    image_send.register(subs)
    image_artifacts.register(subs)
    image_trust.register(add_subcommand(subs, "trust", "Show whether an image may run, and by which signature"))
    inspect = add_subcommand(subs, "inspect", "Show everything about an image")
    inspect.add_argument("image", metavar="IMAGE")
    inspect.add_argument("--format", choices=("json", "yaml"), default="json", help="default: json")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    if args.action == "ls":
        return _list(args, screen)
    if args.action == "send":
        return image_send.run(args, screen)
    api = link.client(args)
    if args.action == "inspect":
        screen.data(as_text(dict(api.image(args.image)), args.format))
        return 0
    if args.action in image_artifacts.ACTIONS:
        return image_artifacts.run(args, screen)
    if args.action == "verify":
        return image_verify.run(args, screen)
    if args.action == "trust":
        return image_trust.run(args)
    if args.action == "history":
        return _history(args, screen)
    for reference in args.images:
        for line in api.remove_image(reference) or (reference,):
            screen.data(line)
    return 0


def _history(args: argparse.Namespace, screen: Screen) -> int:
    found = link.client(args).image_history(args.image)
    if args.format != "table":
        screen.data(as_text([each.document() for each in found], args.format))
        return 0
    now = time.time()
    rows = []
    for step in reversed(found):
        by = " ".join(step.by.split())
        shown = by if args.no_trunc or len(by) <= COMMAND else f"{by[: COMMAND - 1]}…"
        rows.append([ago(step.created, now) if step.created else "-", shown, size(step.size), step.comment])
    screen.data(table(("CREATED", "CREATED BY", "SIZE", "COMMENT"), rows, colour=screen.colour))
    return 0


def _list(args: argparse.Namespace, screen: Screen) -> int:
    found = link.client(args).images()
    if args.quiet:
        for each in found:
            screen.data(each.reference)
    elif args.format == "table":
        now = time.time()
        rows = [[i.reference, short(i.digest), i.platform, size(i.size), ago(i.pulled_at, now)] for i in found]
        headers = ("IMAGE", "DIGEST", "PLATFORM", "SIZE", "PULLED")
        screen.data(table(headers, rows, colour=screen.colour))
    else:
        screen.data(as_text([each.document() for each in found], args.format))
    return 0
