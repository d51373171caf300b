"""The written units: durations (humantime), memory, CPU shares, rates. Each `format_` reads back to the same number."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from zlayer.model.units import Bytes, Cpu, Seconds
from zlayer.spec.nodes import shorten
from zlayer.spec.report import nearest, refused

_NANO = 10**9
_NAMES = {
    1: ("ns", "nsec", "nanos"),
    10**3: ("us", "µs", "usec", "micros"),
    10**6: ("ms", "msec", "millis"),
    _NANO: ("s", "sec", "secs", "second", "seconds"),
    60 * _NANO: ("m", "min", "mins", "minute", "minutes"),
    3600 * _NANO: ("h", "hr", "hrs", "hour", "hours"),
    86_400 * _NANO: ("d", "day", "days"),
    7 * 86_400 * _NANO: ("w", "wk", "wks", "week", "weeks"),
    2_630_016 * _NANO: ("M", "month", "months"),
    31_557_600 * _NANO: ("y", "yr", "yrs", "year", "years"),
}
DURATION_UNITS = {name: nanos for nanos, names in _NAMES.items() for name in names}
MAX_DURATION = 100 * 31_557_600 * _NANO
DURATION_PATTERN = r"^\s*([0-9]+(\.[0-9]+)?\s*[A-Za-zµ]+\s*)+$|^0$"
_PART = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([A-Za-zµ]{1,7})\s*")

_POWERS = {"": 0, "b": 0} | {
    letter + tail: power for power, letter in enumerate("kmgtp", 1) for tail in ("", "b", "i", "ib")
}
MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpP]([iI]?[bB]?)?|[bB])?$"
_MEMORY = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([A-Za-z]*)")
_SUFFIXES = ("Ti", "Gi", "Mi", "Ki")

_PERIODS = {"s": 1, "m": 60, "h": 3600}
_PERIOD_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h"}
RATE_PATTERN = r"^[0-9]+(\.[0-9]+)?(/[smh])?$"


def parse_duration(text: str) -> Seconds:
    """`1h 30m`, `500ms`, `2days` as humantime writes them. Raises `Invalid` that names the mistake."""
    rest, total = text.strip(), Decimal(0)
    if len(rest) > 200:
        raise refused(f"{shorten(text)!r} is too long for a duration", kind="InvalidDuration")
    if rest == "0":
        return Seconds(0.0)
    if re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,19})?", rest):
        raise refused(f"the duration {rest} has no unit", suggestion=f"{rest}s", kind="InvalidDuration")
    while part := _PART.match(rest):
        unit = DURATION_UNITS.get(part[2])
        if unit is None:
            near = nearest(part[2], DURATION_UNITS)
            mend = f"{part[1]}{near}" if near else ""
            raise refused(f"unknown unit {part[2]!r} in a duration", suggestion=mend, kind="InvalidDuration")
        total += Decimal(part[1]) * unit
        rest = rest[part.end() :]
    if rest or not text.strip():
        message = f"{shorten(text)!r} is not a duration such as 500ms, 10s, 5m or 1h 30m"
        raise refused(message, kind="InvalidDuration")
    if total > MAX_DURATION:
        raise refused(f"the duration {shorten(text)!r} is longer than 100 years", kind="InvalidDuration")
    return Seconds(int(total.to_integral_value()) / _NANO)


def format_duration(seconds: float) -> str:
    left = round(Fraction(seconds) * _NANO)
    parts = []
    for name in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, left = divmod(left, DURATION_UNITS[name])
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts) or "0s"


def parse_memory(text: str) -> Bytes:
    """Bytes of `512Mi`, `1.5Gi`, `64m`, `1gb`, `1048576`. All units are powers of 1024, as compose reads them."""
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        message = f"{shorten(text)!r} is not a size such as 512Mi or 1.5Gi"
        raise refused(message, kind="InvalidMemoryFormat")
    power = _POWERS.get(match[2].lower())
    if power is None:
        near = next((suffix for suffix in _SUFFIXES if suffix[0] == match[2][:1].upper()), "")
        message = f"unknown unit {shorten(match[2])!r} in a size; expected Ki, Mi, Gi or Ti"
        raise refused(message, suggestion=f"{match[1]}{near}" if near else "", kind="InvalidMemoryFormat")
    size = int(Decimal(match[1]) * 1024**power)
    if not 0 < size < 2**63:
        raise refused(f"the size {text.strip()} is out of range: more than 0, below 8 Ei", kind="InvalidMemoryFormat")
    return Bytes(size)


def format_memory(size: int) -> str:
    """The largest unit that divides it, else the plain number of bytes."""
    for power, suffix in zip((4, 3, 2, 1), _SUFFIXES, strict=True):
        if size % 1024**power == 0 and size:
            return f"{size // 1024**power}{suffix}"
    return str(size)


def parse_cpu(text: str) -> Cpu:
    """Cores, more than 0: `0.5`, `2`."""
    try:
        cores = float(text)
    except ValueError:
        cores = math.nan
    if math.isfinite(cores) and 0 < cores <= 10_000:
        return Cpu(cores)
    milli = re.fullmatch(r"([0-9]{1,7})m", text.strip())
    mend = f"{int(milli[1]) / 1000:g}" if milli and int(milli[1]) else ""
    message = f"{shorten(text)!r} is not a number of cores above 0 such as 0.5 or 2"
    raise refused(message, suggestion=mend, kind="InvalidCpu")


def parse_rate(text: str) -> float:
    """So many a second of `100/s`, `30/m`, `500/h`, or a plain number a second."""
    number, slash, word = (part.strip() for part in text.strip().partition("/"))
    mend = ""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,25})?", number):
        period = _PERIODS.get(word) if slash else 1
        rate = float(number) / (period or 1)
        if period and 0 < rate <= 10_000_000:
            return rate
        short = _PERIOD_WORDS.get(word.lower(), word[:1].lower())
        mend = f"{number}/{short}" if not period and short in _PERIODS else ""
    message = f"{shorten(text)!r} is not a rate such as 100/s, 30/m or 500/h"
    raise refused(message, suggestion=mend)


def format_rate(rate: float) -> str:
    for period, seconds in _PERIODS.items():
        count = round(rate * seconds)
        if count and count / seconds == rate:
            return f"{count}/{period}"
    return f"{Decimal(repr(rate)):f}/s"
