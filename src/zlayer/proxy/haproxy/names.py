"""Words from outside made safe for HAProxy's three languages: configuration, map files and runtime commands.

Names of deployments, hosts and paths are chosen by users. What comes out of here has no space, quote, backslash,
semicolon, hash or line end in it, whatever went in, and two different inputs never become the same word.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.:/*~!$&()+,=\[\]-]")
_NOT_PATH = re.compile(r"[^A-Za-z0-9_.:/*~!$&()+,=%\[\]-]")
LONGEST = 120
"""Of a plain word: it becomes a file's name, which may have 255 bytes with what is added."""


def plain(text: str) -> str:
    """A word of letters, digits, `_`, `-`, `.` and `:`, for sections, servers and files: `/` is `:`, others `.hex`."""
    word = _NOT_PLAIN.sub(_dotted, text) or "."
    if len(word) <= LONGEST:
        return word
    return f"{word[:80]}..{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:32]}"


@lru_cache(maxsize=1 << 14)
def token(text: str) -> str:
    """A key or value of a map: what cannot stand in a URL as it is, is percent-encoded (RFC 3986, 2.1)."""
    return _NOT_TOKEN.sub(_percent, text)


def path(text: str) -> str:
    """As `token`, for a path as a user writes it: what is percent-encoded already stays so."""
    return _NOT_PATH.sub(_percent, text)


def _dotted(match: re.Match[str]) -> str:
    return ":" if match[0] == "/" else "".join(f".{byte:02x}" for byte in _bytes(match[0]))


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes(match[0]))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
