"""`zlayer pull`: an image, with its progress."""

from __future__ import annotations

import argparse

from zlayer.cli import link, units
from zlayer.cli.render.progress import Blobs
from zlayer.cli.screen import Screen
from zlayer.client.results import Image, PullProgress

EXAMPLES = """
zlayer pull alpine:3.20
zlayer pull localhost:5000/shop/web --policy newer
zlayer pull nginx --platform linux/arm64
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a reference, as docker takes them")
    parser.add_argument("--policy", choices=("always", "if_not_present", "newer", "never"), help="default: always")
    parser.add_argument("--platform", metavar="OS/ARCH", help="default: this node's")
    parser.add_argument("--limit-rate", metavar="RATE", type=_rate, help="bytes a second, such as 10M; 0: no limit")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the digest only")


def _rate(text: str) -> int:
    return 0 if text == "0" else units.size(text)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    blobs = Blobs()
    api = link.client(args)
    for item in api.pull(args.image, policy=args.policy, platform=args.platform, limit_rate=args.limit_rate):
        if isinstance(item, Image):
            finish(screen, blobs, quiet=args.quiet)
            screen.data(item.digest if args.quiet else f"{item.reference}  {item.digest}")
        elif not args.quiet:
            show(screen, blobs, item)
    return 0


def show(screen: Screen, blobs: Blobs, item: PullProgress) -> None:
    """Draw the bars again on a terminal; say what is new anywhere else."""
    news = blobs.news(item)
    if screen.live:
        screen.draw(blobs.lines(screen.width))
    elif news:
        screen.note(news)


def finish(screen: Screen, blobs: Blobs, *, quiet: bool = False) -> None:
    """Leave the finished bars where they are."""
    if screen.live and not quiet:
        screen.draw(blobs.lines(screen.width))
        screen.keep()
