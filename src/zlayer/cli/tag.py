"""`zlayer tag`: another name for a local image."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer tag shop/web:2 registry.example.com/shop/web:2
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a local image: a name, a digest, or the start of one")
    parser.add_argument("target", metavar="NAME", help="the name it gets as well")


def run(args: argparse.Namespace) -> int:
    Screen.of(args).data(link.client(args).tag(args.image, args.target).reference)
    return 0
