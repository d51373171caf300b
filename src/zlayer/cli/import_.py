"""`zlayer import`: images from an archive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from zlayer.cli import link
from zlayer.cli.render.progress import bar
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.model.errors import NotFound, Unavailable

CHUNK = 1 << 18
EXAMPLES = """
zlayer import web.tar                                 from zlayer export, docker save, skopeo
docker save shop/web:2 | zlayer import -
zlayer import https://example.com/web.tar.zst
zlayer import rootfs.tar.gz --rootfs -t base:1        a plain tree
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FILE|URL|-", help="a tar, plain or packed with gzip or zstd")
    parser.add_argument("-t", "--tag", metavar="NAME", default="", help="the image's name, instead of its own")
    parser.add_argument("--rootfs", action="store_true", help="a plain root file system, which becomes one layer")
    parser.add_argument("--platform", metavar="OS/ARCH", help="which image of several (this node's)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print digests only")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    with _opened(args.source) as (file, total):
        pieces = _pieces(file) if args.quiet else _shown(screen, _pieces(file), total)
        api = link.client(args)
        images = api.import_archive(pieces, name=args.tag, rootfs=args.rootfs, platform=args.platform)
    screen.clear()
    for image in images:
        screen.data(image.digest if args.quiet else f"{image.reference}  {image.digest}")
    return 0


@contextmanager
def _opened(source: str) -> Iterator[tuple[IO[bytes], int]]:
    """What to read, and its length in bytes; 0 when nobody knows."""
    if source == "-":
        yield sys.stdin.buffer, 0
    elif source.startswith(("http://", "https://")):
        with _fetched(source) as found:
            yield found
    else:
        import os

        try:
            file = open(source, "rb")  # noqa: SIM115, PTH123  # closed below
        except OSError as error:
            raise NotFound(f"cannot read {source}: {error.strerror}", hint="give a tar, a URL or -") from None
        with file:
            yield file, os.fstat(file.fileno()).st_size


@contextmanager
def _fetched(url: str) -> Iterator[tuple[IO[bytes], int]]:
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        answer = urlopen(url, timeout=60)  # noqa: S310  # http and https only, see above
    except HTTPError as error:
        raise NotFound(f"{url} answered {error.code}", hint="check the address") from None
    except (URLError, OSError) as error:
        raise Unavailable(f"cannot fetch {url}: {getattr(error, 'reason', error)}", hint="check the network") from None
    with answer:
        yield answer, int(answer.headers.get("Content-Length") or 0)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK):
        yield piece


def _shown(screen: Screen, pieces: Iterator[bytes], total: int) -> Iterator[bytes]:
    """Draws how much has gone, on a terminal."""
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        if screen.live:
            amount = f"{size(done)} / {size(total)}" if total else size(done)
            screen.draw([f"sending  {bar(done, total)} {amount}", *(["unpacking"] if done == total else [])])
