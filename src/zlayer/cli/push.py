"""`zlayer push`: a local image to its registry, or to another name."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.pull import finish, show
from zlayer.cli.render.progress import Blobs
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.client.results import Pushed

EXAMPLES = """
zlayer push localhost:5000/shop/web:2
zlayer push alpine:3.20 registry.example.com/mirror/alpine:3.20
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a local image")
    parser.add_argument("target", metavar="TARGET", nargs="?", default="", help="the name to push to (IMAGE's own)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the digest only")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    blobs = Blobs()
    for item in link.client(args).push(args.image, args.target):
        if isinstance(item, Pushed):
            finish(screen, blobs, quiet=args.quiet)
            if not args.quiet:
                screen.note(f"{size(item.sent)} sent; {item.there} blobs were there, {item.mounted} mounted")
                if item.left:
                    screen.note(f"only {item.platform} went; not kept here, and not pushed: {', '.join(item.left)}")
            screen.data(item.digest if args.quiet else f"{item.reference}  {item.digest}")
        elif not args.quiet:
            show(screen, blobs, item)
    return 0
