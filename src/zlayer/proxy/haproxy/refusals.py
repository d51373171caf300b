"""The answers the proxy gives itself: a status and one line of text, for people with curl."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[int, str] = {
    400: "bad request", 403: "forbidden", 404: "no route for this host and path", 405: "method not allowed",
    408: "the request took too long", 411: "a length is needed", 413: "the body is too large",
    429: "too many requests", 500: "internal error of the proxy", 502: "the service gave no valid answer",
    503: "no healthy backend", 504: "the service took too long to answer",
}  # fmt: skip
ENGINE = (400, 403, 408, 500, 502, 503, 504)
"""Those HAProxy gives of its own accord. The others stand in our rules."""


def body(status: int) -> str:
    """The arguments that give an answer its text."""
    return f'content-type text/plain string "{TEXTS[status]}\\n"'


def answer(status: int, headers: str = "") -> str:
    """The rule's action; `headers` as `hdr NAME VALUE`."""
    return f'return status {status} content-type text/plain{headers and " " + headers} string "{TEXTS[status]}\\n"'
