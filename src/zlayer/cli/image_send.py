"""`zlayer image send`: local images to another node, without a registry."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.pull import finish, show
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.progress import Blobs, short
from zlayer.cli.render.table import table
from zlayer.cli.render.times import size
from zlayer.cli.screen import Screen
from zlayer.client import connect, sending
from zlayer.client.client import Client
from zlayer.client.results import PullProgress
from zlayer.client.transport import Address
from zlayer.model.errors import Invalid, NotFound

TOKEN, CA = "ZLAYER_NODE_TOKEN", "ZLAYER_NODE_CA"
MAX_TOKEN = 64 * 1024
_HINT = f"write one with `zlayer token create` there, and give it by --token-file or {TOKEN}"


def register(subs: Any) -> None:  # Any: argparse's own type has no public name
    parser = add_subcommand(subs, "send", "Send images to another node, without a registry")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="local images")
    parser.add_argument("node", metavar="NODE", help="https://HOST[:3669], or unix:///PATH/zlayer.sock")
    parser.add_argument("--token-file", metavar="FILE", help=f"the node's bearer token (or {TOKEN}); `-`: stdin")
    parser.add_argument("--ca", metavar="FILE", help=f"a PEM file to trust instead of the system's (or {CA})")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and send nothing")
    parser.add_argument("-q", "--quiet", action="store_true", help="print digests only")
    add_format(parser)


def run(args: argparse.Namespace, screen: Screen, environ: Mapping[str, str] = os.environ) -> int:
    target = Client(address_of(args, environ))
    source = link.client(args)
    if str(target.address) == str(source.address):
        raise Invalid(f"{args.node} is the node the images are on", hint="name another node")
    return (_dry if args.dry_run else _send)(args, screen, source, target)


def address_of(args: argparse.Namespace, environ: Mapping[str, str]) -> Address:
    """Where to. Errors: `Invalid` (no address, no token), `NotFound` (a file), `Denied` (a token in the clear)."""
    token = _token(args.token_file) if args.token_file else _checked(environ.get(TOKEN, ""), TOKEN)
    ca = args.ca or environ.get(CA, "")
    if ca and not os.access(ca, os.R_OK):
        raise NotFound(f"cannot read {ca}", hint="--ca takes a PEM file")
    address = connect.parse(args.node, token=token, ca=ca, named="the node ")
    if not address.path and not address.token:
        raise Invalid(f"{args.node} wants a token", hint=_HINT)
    return address


def _token(file: str) -> str:
    try:
        with open(0 if file == "-" else file, closefd=file != "-") as opened:  # 0 is stdin
            token = opened.read(MAX_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"cannot read {file}: {getattr(error, 'strerror', 'no text')}", hint=_HINT) from None
    if not token.strip():
        raise Invalid(f"{file} holds no token", hint=_HINT)
    return _checked(token, file)


def _checked(text: str, where: str) -> str:
    """It becomes a header: nothing but itself may be in it."""
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Invalid(f"{where} holds no token", hint=_HINT)
    return token


def _send(args: argparse.Namespace, screen: Screen, source: Client, target: Client) -> int:
    quiet = args.quiet or args.format != "table"
    documents = []
    for reference in args.images:
        blobs = Blobs()
        sent = sending.send(source, target, reference, partial(_tell, screen, blobs, quiet))
        finish(screen, blobs, quiet=quiet)
        documents.append({**sent.image.document(), "sent": sent.sent, "there": sent.there})
        if not quiet:
            screen.note(f"{size(sent.sent)} sent; {sent.there} blobs were there")
        if args.format == "table":
            screen.data(sent.image.digest if args.quiet else f"{sent.image.reference}  {sent.image.digest}")
    if args.format != "table":
        screen.data(as_text(documents, args.format))
    return 0


def _tell(screen: Screen, blobs: Blobs, quiet: bool, item: PullProgress) -> None:
    if not quiet:
        show(screen, blobs, item)


def _dry(args: argparse.Namespace, screen: Screen, source: Client, target: Client) -> int:
    found = [sending.survey(source, target, reference) for reference in args.images]
    if args.format != "table":
        screen.data(as_text([_document(one) for one in found], args.format))
        return 0
    lacking = {part.digest: (one, part) for one in reversed(found) for part in one.missing}
    rows = [[one.parcel.reference, short(p.digest), size(p.size), size(p.here)] for one, p in lacking.values()]
    if rows:
        screen.data(table(("IMAGE", "BLOB", "SIZE", "THERE"), rows, colour=screen.colour))
    amount = sum(part.size - part.here for _, part in lacking.values())
    screen.note(f"{len(lacking)} blobs, {size(amount)} would go" if lacking else "every blob is there already")
    return 0


def _document(one: sending.Survey) -> dict[str, object]:
    return {
        "reference": one.parcel.reference,
        "digest": one.parcel.digest,
        "missing": [part.document() for part in one.missing],
        "bytes": one.bytes,
        "there": one.there,
    }
