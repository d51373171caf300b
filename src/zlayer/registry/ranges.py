"""Ranges of bytes: what a download asks for (RFC 9110, 14.2) and where a chunk belongs (distribution-spec)."""

from __future__ import annotations

import re

from zlayer.registry.faults import Refusal

_ASKED = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)
_CHUNK = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\*|\d{1,19}))?")


def asked(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the byte behind the last one of a Range header; None: the whole, as for a header we do not serve.

    Several ranges, other units and what cannot be read are ignored, as the RFC allows. Raises `Refusal` 416 for a
    range that begins behind the end.
    """
    found = _ASKED.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), int(last) + 1 if last else size
        if end <= start and last:
            return None
    if start >= size:
        message = f"the blob has {size} bytes, the range begins at {start}"
        raise Refusal(416, "RANGE_INVALID", message, headers={"Content-Range": f"bytes */{size}"})
    return start, min(end, size)


def chunk(header: str) -> tuple[int, int]:
    """First byte and the byte behind the last one of a chunk's Content-Range: `0-99`, or `bytes 0-99/*`."""
    found = _CHUNK.fullmatch(header.strip())
    if found is None or int(found[2]) < int(found[1]):
        raise Refusal(
            400, "RANGE_INVALID", "a chunk's Content-Range is FIRST-LAST, both counted from 0", {"range": header[:80]}
        )
    return int(found[1]), int(found[2]) + 1
