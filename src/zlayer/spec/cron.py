"""The grammar of `schedule`: 5, 6 or 7 fields, or an `@` form. Only checked here; nothing runs on it yet."""

from __future__ import annotations

import re

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import shorten
from zlayer.spec.report import nearest, refused

FORMS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int], ...] = (
    ("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31),
    ("month", 1, 12), ("day of week", 0, 7), ("year", 1970, 2199),
)  # fmt: skip
_SLICES = {5: slice(1, 6), 6: slice(0, 6), 7: slice(0, 7)}
_ITEM = re.compile(r"(\*|\?|([0-9a-z]{1,4})(-([0-9a-z]{1,4}))?)(/([0-9]{1,4}))?")


def check_cron(text: str) -> str:
    """The schedule with single spaces. 5 fields start at the minute, 6 at the second, 7 end with the year."""
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        if words[0] not in FORMS:
            raise _bad(f"unknown schedule {shorten(words[0])!r}", nearest(words[0], FORMS))
        return words[0]
    if len(words) not in _SLICES:
        raise _bad(f"a schedule has 5, 6 or 7 fields or is an @ form such as @daily; this has {len(words)}")
    fields = _FIELDS[_SLICES[len(words)]]
    for word, (name, low, high) in zip(words, fields, strict=True):
        for item in word.lower().split(","):
            _check_item(item, name, low, high)
    return " ".join(words)


def _check_item(item: str, name: str, low: int, high: int) -> None:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _bad(f"{shorten(item)!r} cannot stand in the {name} field")
    ends = [_number(word, name) for word in (match[2], match[4]) if word]
    if any(not low <= end <= high for end in ends):
        raise _bad(f"{shorten(item)!r} is out of range in the {name} field: {low}-{high}")
    if len(ends) == 2 and ends[0] > ends[1]:
        raise _bad(f"the range {item!r} in the {name} field runs backwards")
    if match[6] and int(match[6]) == 0:
        raise _bad(f"the step in {item!r} in the {name} field is 0")


def _number(word: str, name: str) -> int:
    names = {"month": _MONTHS, "day of week": _DAYS}.get(name, ())
    if word in names:
        return names.index(word) + (name == "month")
    if not word.isdigit():
        raise _bad(f"{word!r} is not a number in the {name} field", nearest(word, names))
    return int(word)


def _bad(message: str, suggestion: str = "") -> Invalid:
    return refused(message, suggestion=suggestion, kind="InvalidCronSchedule")
