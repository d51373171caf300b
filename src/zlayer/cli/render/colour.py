"""ANSI colours by meaning, and a stable colour per name."""

from __future__ import annotations

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
PALETTE = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
STATES = {
    "running": "green",
    "healthy": "green",
    "ready": "green",
    "pending": "yellow",
    "deploying": "yellow",
    "initializing": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "removing": "yellow",
    "valid": "green",
    "expiring": "yellow",
    "failing": "yellow",
    "expired": "red",
    "unused": "dim",
    "failed": "red",
    "lost": "red",
    "unhealthy": "red",
    "exited": "dim",
    "stopped": "dim",
}


def paint(text: str, name: str, *, colour: bool) -> str:
    """`text` in a colour of `CODES`; unchanged when colour is off or the name is empty."""
    return f"\x1b[{CODES[name]}m{text}\x1b[0m" if colour and name else text


def state(text: str, *, colour: bool) -> str:
    """A state in the colour of its first word."""
    word = text.split(maxsplit=1)[0].rstrip(":").lower() if text else ""
    return paint(text, STATES.get(word, ""), colour=colour)


def stable(name: str) -> str:
    """The ANSI code of a name: the same in every process (`hash()` is not), whatever else is shown."""
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF  # FNV-1a
    return PALETTE[value % len(PALETTE)]


def visible(text: str) -> str:
    """`text` with what a terminal would obey or hide (controls, escapes, direction marks) written out as `\\x1b`.

    For words that come from files, images and containers: they may not paint, move the cursor or look like others.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def clipped(text: str, width: int) -> str:
    """`text` cut to a width; what must be cut loses its colours."""
    if plain_length(text) <= width:
        return text
    plain = "".join(part if i == 0 else part.partition("m")[2] for i, part in enumerate(text.split("\x1b[")))
    return plain[: max(0, width)]


def plain_length(text: str) -> int:
    """Columns without colour codes."""
    if "\x1b" not in text:
        return len(text)
    return sum(len(part if i == 0 else part.partition("m")[2]) for i, part in enumerate(text.split("\x1b[")))
