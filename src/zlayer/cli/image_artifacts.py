"""`zlayer image referrers`, `attach` and `sbom`: what belongs to an image at its registry."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.progress import short
from zlayer.cli.render.table import table
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.model.errors import NotFound

ACTIONS = ("referrers", "attach", "sbom")
CHUNK = 1 << 18


def register(subs: Any) -> None:  # Any: argparse's own type has no public name
    listed = add_subcommand(subs, "referrers", "List what is attached to an image at its registry")
    listed.add_argument("image", metavar="IMAGE", help="a reference; it need not be local")
    listed.add_argument("--type", metavar="T", default="", help="of this artifact type only")
    add_format(listed)
    attach = add_subcommand(subs, "attach", "Attach a file to an image at its registry")
    attach.add_argument("image", metavar="IMAGE", help="a reference; it need not be local")
    attach.add_argument("file", metavar="FILE")
    attach.add_argument("--type", metavar="MEDIATYPE", required=True, help="such as application/spdx+json")
    sbom = add_subcommand(subs, "sbom", "Show the SPDX or CycloneDX document attached to an image")
    sbom.add_argument("image", metavar="IMAGE", help="a reference; it need not be local")
    sbom.add_argument("--type", metavar="T", default="", help="of this artifact type")


def run(args: argparse.Namespace, screen: Screen) -> int:
    api = link.client(args)
    if args.action == "attach":
        pieces = _pieces(Path(args.file))
        done = api.attach(args.image, pieces, kind=args.type, name=Path(args.file).name)
        where = "the registry lists it" if done.listed == "api" else "listed in the fallback tag"
        screen.note(f"attached to {done.subject}; {where}")
        screen.data(done.digest)
    elif args.action == "sbom":
        screen.data(api.sbom(args.image, kind=args.type).text.removesuffix("\n"))
    else:
        found = api.referrers(args.image, kind=args.type)
        if args.format != "table":
            screen.data(as_text([one.document() for one in found], args.format))
        else:
            rows = [[one.digest, one.type or "-", size(one.size), short(one.subject)] for one in found]
            screen.data(table(("DIGEST", "TYPE", "SIZE", "OF"), rows, colour=screen.colour))
    return 0


def _pieces(path: Path) -> Iterator[bytes]:
    """Opened here, before anything is sent."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}", hint="give a file") from None
    return _read(file)


def _read(file: Any) -> Iterator[bytes]:  # Any: a binary file
    with file:
        while piece := file.read(CHUNK):
            yield piece
