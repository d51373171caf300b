"""Lists in pages: `n`, `last` and the Link to what follows (distribution-spec, "Listing Tags"; RFC 8288)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from zlayer.registry.faults import Refusal

MOST = 1000
"""Entries of a page when the client names no number, and at most."""


def page(names: Sequence[str], query: Mapping[str, str]) -> tuple[list[str], str]:
    """The part of sorted `names` that is asked for, and the `last` of the following page; empty at the end."""
    wanted = count(query)
    start = bisect_right(names, query["last"]) if "last" in query else 0
    part = list(names[start : start + wanted])
    return part, part[-1] if part and start + wanted < len(names) else ""


def count(query: Mapping[str, str]) -> int:
    text = query.get("n", str(MOST))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n is a whole number", {"n": text[:20]})
    return min(int(text), MOST)


def link(path: str, query: Mapping[str, str], last: str) -> dict[str, str]:
    """The Link header to the next page; nothing after the last one."""
    if not last:
        return {}
    return {"Link": f'<{path}?{urlencode({**query, "last": last})}>; rel="next"'}
