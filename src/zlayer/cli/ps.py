"""`zlayer ps`: what is there. The verb typed most; it loads as little as it can."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render import listings
from zlayer.cli.screen import Screen
from zlayer.client.client import Client
from zlayer.client.results import Deployment

EXAMPLES = """
zlayer ps                     deployments and their services
zlayer ps -c                  every container
zlayer ps -c --format json    for programs
zlayer ps -q                  names only (container ids with -c)
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--containers", action="store_true", help="containers instead of services")
    parser.add_argument("--deployment", metavar="NAME", help="only this one; with JSON one object, not a list")
    parser.add_argument("-q", "--quiet", action="store_true", help="names or ids only")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    api = link.client(args)
    return _containers(api, args, screen) if args.containers else _deployments(api, args, screen)


def _containers(api: Client, args: argparse.Namespace, screen: Screen) -> int:
    listed = api.containers(args.deployment)
    if args.quiet:
        _each(screen, [c.id for c in listed])
    elif args.format == "table":
        screen.data(listings.containers(listed, time.time(), colour=screen.colour))
    else:
        _document(screen, listings.containers_document(listed), args.format)
    return 0


def _deployments(api: Client, args: argparse.Namespace, screen: Screen) -> int:
    listed: tuple[Deployment, ...] = (api.deployment(args.deployment),) if args.deployment else api.deployments()
    if args.quiet:
        _each(screen, [d.deployment for d in listed])
    elif args.format == "table":
        screen.data(listings.deployments(listed, colour=screen.colour))
    else:
        docs = listings.deployments_document(listed)
        _document(screen, docs[0] if args.deployment else docs, args.format)
    return 0


def _each(screen: Screen, names: list[str]) -> None:
    for name in names:
        screen.data(name)


def _document(screen: Screen, doc: object, form: str) -> None:
    from zlayer.cli.render.documents import as_text

    screen.data(as_text(doc, form))
