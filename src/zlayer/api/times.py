"""Times as the API writes and reads them: RFC 3339 in UTC out; RFC 3339, epoch seconds or "ago" in."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from zlayer.model.errors import Invalid, Problem
from zlayer.model.units import Timestamp

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AGO = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def rfc3339(at: Timestamp | float) -> str:
    """`2026-01-31T12:00:00.123456Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_since(text: str | None, now: float) -> Timestamp | None:
    """`10m` or `1h30m` (that long before `now`), epoch seconds, or RFC 3339 (no zone: UTC). Raises `Invalid`."""
    if not text:
        return None
    if _AGO.fullmatch(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
        return Timestamp(now - sum(float(count) * _UNITS[unit] for count, unit in parts))
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return Timestamp(float(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        problem = Problem(f"{text!r} is neither a time nor a duration", path="since", suggestion="10m")
        raise Invalid(
            str(problem), hint="write 10m, 1h30m, 2026-01-31T12:00:00Z or epoch seconds", problems=(problem,)
        ) from None
    return Timestamp((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
