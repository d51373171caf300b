"""The grammar of image references, enough to tell a typing error before anything is pulled.

From github.com/distribution/reference (reference.go, regexp.go). The image room has the full parser; here a name is
only accepted or explained.
"""

from __future__ import annotations

import re

from zlayer.spec.nodes import shorten
from zlayer.spec.report import refused

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(:(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
MAX_NAME = 255


def check_image(text: str) -> str:
    """The reference as written (white space around it dropped). Raises `Invalid` that names the faulty part."""
    name = text.strip()
    if not name:
        raise refused("the image name is empty", kind="EmptyImageName")
    if len(name) > 512:
        raise _bad(name, "it is longer than 512 characters")
    if "://" in name:
        raise _bad(name, "it is a URL", suggestion=name.partition("://")[2])
    rest, at, digest = name.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(name, f"{shorten(digest)!r} is not a digest such as sha256:<64 hex digits>")
    for algorithm, digits in (("sha256", 64), ("sha512", 128)):
        if digest.startswith(f"{algorithm}:") and len(digest) != len(algorithm) + 1 + digits:
            raise _bad(name, f"a {algorithm} digest has {digits} hex digits")
    last = rest.rfind(":")
    if last > rest.rfind("/"):
        rest, tag = rest[:last], rest[last + 1 :]
        if not _TAG.fullmatch(tag):
            raise _bad(name, f"{shorten(tag)!r} is not a tag (letters, digits, '_', '.', '-'; at most 128)")
    _check_path(name, rest)
    return name


def _check_path(name: str, rest: str) -> None:
    parts = rest.split("/")
    first = parts[0]
    if len(parts) > 1 and (any(c in first for c in ".:") or first == "localhost" or first != first.lower()):
        host = _DOMAIN.fullmatch(first)
        if host is None or int(host["port"] or 0) > 65535:
            raise _bad(name, f"{shorten(first)!r} is not a registry host")
        parts = parts[1:]
    if len(rest) > MAX_NAME:
        raise _bad(name, f"the name is longer than {MAX_NAME} characters")
    for part in parts:
        if _COMPONENT.fullmatch(part):
            continue
        if _COMPONENT.fullmatch(part.lower()):
            mend = name.replace(part, part.lower(), 1)
            raise _bad(name, f"repository names are lower case, not {shorten(part)!r}", suggestion=mend)
        raise _bad(name, f"{shorten(part)!r} cannot stand in a repository name" if part else "a part of it is empty")


def _bad(name: str, why: str, *, suggestion: str = "") -> Exception:
    return refused(f"{shorten(name)!r} is not an image reference: {why}", suggestion=suggestion, kind="InvalidImage")
