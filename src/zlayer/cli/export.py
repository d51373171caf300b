"""`zlayer export`: local images as one archive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from zlayer.cli import link
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.model.errors import Exhausted, Failed, Invalid

EXAMPLES = """
zlayer export shop/web:2 -o web.tar
zlayer export shop/web:2 redis:7 --zstd -o both.tar.zst
zlayer export shop/web:2 | ssh node2 zlayer import -
docker load < web.tar                                     it is read by docker, podman and skopeo too
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="local images")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="where to; `-` is standard output (default)"
    )
    packed = parser.add_mutually_exclusive_group()
    packed.add_argument("--gzip", dest="compression", action="store_const", const="gzip", default="", help="pack it")
    packed.add_argument("--zstd", dest="compression", action="store_const", const="zstd", help="pack it with zstd")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    pieces = link.client(args).export(args.images, compression=args.compression)
    if args.output == "-":
        if sys.stdout.isatty():
            raise Invalid("an archive is nothing for a terminal", hint="use -o FILE, or pipe it on")
        _write(pieces, sys.stdout.buffer)
        return 0
    path = Path(args.output)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            written = _write(pieces, file)
        part.replace(path)
    except OSError as error:
        kind = Exhausted if error.errno == 28 else Failed  # ENOSPC
        raise kind(f"cannot write {path}: {error.strerror}", hint="write it elsewhere: -o FILE") from None
    finally:
        part.unlink(missing_ok=True)
    screen.note(f"{path}: {size(written)}")
    return 0


def _write(pieces: Iterable[bytes], file: BinaryIO) -> int:
    total = 0
    for piece in pieces:
        file.write(piece)
        total += len(piece)
    file.flush()
    return total
