"""Host names and paths as requests carry them: checked, and brought to the one form the proxy compares."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import shorten
from zlayer.spec.report import refused

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_PATTERN = rf"^(\*\.)?{_LABEL}(\.{_LABEL})*\.?$"
PATH_PATTERN = r"^/"
MAX_HOST = 253
MAX_PATH = 1000
# RFC 3986: pchar and '/'.
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


def check_host(text: str) -> str:
    """`shop.example.org` or `*.example.org`; returned in lower case, without a final dot."""
    if text == "*":
        raise _host(text, "leave host out to answer on any name")
    if not text.isascii():
        raise _host(text, "write it in its ASCII form (IDNA)", _punycode(text))
    if "://" in text:
        raise _host(text, "it is a URL: host is the name alone", _hostname(text))
    if _is_address(text):
        raise _host(text, "it is an address: leave host out to answer on any")
    name, colon, port = text.partition(":")
    if colon and port.isdecimal():
        raise _host(text, "the port is a key of its own", name)
    if "/" in text:
        raise _host(text, "the path is a key of its own", text.partition("/")[0])
    if not re.fullmatch(HOST_PATTERN, text) or len(text.rstrip(".")) > MAX_HOST:
        near = f"*.{text.rpartition('*.')[2]}" if "*." in text else text.replace("_", "-")
        good = re.fullmatch(HOST_PATTERN, near) is not None and near != text
        why = "labels of letters, digits and '-', at most one '*.' before them"
        raise _host(text, why, near if good else "")
    return text.lower().rstrip(".")


def check_path(text: str) -> str:
    """A path prefix: `/` or `/api/v1`, without a final slash."""
    if "://" in text:
        raise _path(text, "it is a URL: path is the part after the host")
    if not text.startswith("/"):
        raise _path(text, "it does not start with '/'", f"/{text}")
    if "?" in text or "#" in text:
        raise _path(text, "requests are not told apart by their query", re.split("[?#]", text)[0] or "/")
    if text.endswith("*"):
        raise _path(text, "it is a prefix as it is, without '*'", text.rstrip("*").rstrip("/") or "/")
    if not _PATH.fullmatch(text):
        raise _path(text, "it has characters that a URL must escape", quote(text, safe="/%:@!$&'()*+,;=~"))
    if len(text) > MAX_PATH:
        raise _path(text, f"it is longer than {MAX_PATH} characters")
    parts = [part for part in text.split("/") if part]
    if "." in parts or ".." in parts:
        raise _path(text, "it has '.' or '..' in it")
    return "/" + "/".join(parts)


def _host(text: str, why: str, suggestion: str = "") -> Invalid:
    return refused(f"{shorten(text)!r} is not a host name: {why}", suggestion=suggestion, kind="InvalidHostname")


def _path(text: str, why: str, suggestion: str = "") -> Invalid:
    return refused(f"{shorten(text)!r} is not a path prefix: {why}", suggestion=suggestion, kind="InvalidPath")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _punycode(text: str) -> str:
    star = "*." if text.startswith("*.") else ""
    try:
        return star + text.removeprefix("*.").lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""
