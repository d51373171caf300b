"""Times, lengths of time and sizes, as people read them."""

from __future__ import annotations

UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def seconds_of(when: str | float | None) -> float | None:
    """Seconds since the epoch of RFC 3339 text or a number; None for what is neither."""
    if when is None or when == "":
        return None
    if isinstance(when, int | float):
        return float(when)
    from datetime import UTC, datetime

    try:
        read = datetime.fromisoformat(when)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def rfc3339(when: str | float | None) -> str:
    """RFC 3339 in UTC with milliseconds; text passes as it is, and nothing gives nothing."""
    if when is None or isinstance(when, str):
        return when or ""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def lasting(seconds: float) -> str:
    """`3 minutes`: the largest unit alone, as docker shows it."""
    for size, name in UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "0 seconds"


def ago(when: str | float | None, now: float) -> str:
    """`3 minutes ago`; empty for no time. A clock that runs a little ahead gives `0 seconds ago`."""
    at = seconds_of(when)
    return "" if at is None else f"{lasting(max(0.0, now - at))} ago"


def away(when: str | float | None, now: float) -> str:
    """`in 3 days`, or `3 days ago` for what is over; empty for no time."""
    at = seconds_of(when)
    return "" if at is None else f"in {lasting(at - now)}" if at > now else ago(at, now)


def size(count: float) -> str:
    """`12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
