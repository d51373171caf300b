"""The forms an `env` value can take, and resolving those the daemon host can answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import shorten
from zlayer.spec.report import UNSUPPORTED, nearest, refused

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REF = r"[A-Za-z][A-Za-z0-9_-]*"
_SECRET_REF = re.compile(rf"{_REF}|@{_REF}/{_REF}")
_STORE_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z0-9_.-]+)?")


def check_key(text: str) -> str:
    """A variable's name: not empty, no `=`."""
    if not text or "=" in text or "\0" in text:
        message = f"{shorten(text)!r} is not a variable name: it must not be empty and have no '='"
        raise refused(message, kind="InvalidEnvVar")
    return text


def check_value(text: str) -> str:
    """Literal text or a well-formed reference; secrets are checked, then refused as a later feature."""
    if text.startswith("$E:"):
        if not _VARIABLE.fullmatch(text[3:]):
            raise _bad(f"{shorten(text)!r} names no variable: write $E:NAME")
    elif text.startswith("$S:"):
        if not _SECRET_REF.fullmatch(text[3:]):
            raise _bad(f"{shorten(text)!r} is not $S:name or $S:@service/name (a letter, then letters, digits, _ -)")
        raise refused("not supported yet: $S: secrets", kind=UNSUPPORTED)
    elif text.startswith("$secret://"):
        if not _STORE_REF.fullmatch(text.removeprefix("$secret://")):
            raise _bad(f"{shorten(text)!r} is not $secret://<env>/<KEY>[/<json field>]")
        raise refused("not supported yet: $secret:// values", kind=UNSUPPORTED)
    elif "\0" in text:
        raise _bad("a variable cannot hold a NUL character")
    return text


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """The value a container gets. Raises `Invalid` when the daemon host has no such variable."""
    if not text.startswith("$E:"):
        return text
    name = text[3:]
    if name not in environ:
        near = nearest(name, environ)
        message = f"the variable {name} is not set on the daemon's host"
        raise refused(message, suggestion=f"$E:{near}" if near else "", kind="InvalidEnvVar")
    return environ[name]


def _bad(message: str) -> Invalid:
    return refused(message, kind="InvalidEnvVar")
