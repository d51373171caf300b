"""Pax extended headers: `LENGTH KEY=VALUE\\n` records (POSIX.1-2001 pax, "pax Extended Header")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from zlayer.image.tar_header import Header
from zlayer.model.errors import Corrupt

XATTR = b"SCHILY.xattr."
_PER_MEMBER = (b"path", b"linkpath", b"size")
_HINT = "The layer is damaged: build it anew."
NANO = 1_000_000_000
NO_XATTRS: tuple[tuple[bytes, bytes], ...] = ()


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records in order; GNU's sparse maps repeat keys. `Corrupt` when lengths and separators disagree."""
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        equals = data.find(b"=", space, end)
        if end > len(data) or equals <= space + 1 or data[end - 1 : end] != b"\n":
            raise Corrupt(f"bad pax record at byte {at}: {data[at : at + 40]!r}", hint=_HINT)
        records.append((data[space + 1 : equals], data[equals + 1 : end - 1]))
        at = end
    return records


def check_global(records: Mapping[bytes, bytes]) -> None:
    """A global header may set owners and times, never what names or measures one single member."""
    for key in records:
        if key in _PER_MEMBER or key.startswith(b"GNU.sparse."):
            raise Corrupt(f"a global pax header sets {key.decode(errors='replace')!r}", hint=_HINT)


class PaxValues(NamedTuple):
    """What pax records change about a member. An empty value takes the header's own back (POSIX)."""

    header: Header
    mtime: int
    """Nanoseconds since the epoch."""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def apply_records(header: Header, records: Mapping[bytes, bytes]) -> PaxValues:
    """`header` with the records' path, link, size, ids and time. `Corrupt` for a value out of range."""
    numbers = {key: _decimal(records[key], key) for key in (b"size", b"uid", b"gid") if records.get(key)}
    changed = header._replace(
        name=_name(records.get(b"path"), header.name, "path"),
        link=_name(records.get(b"linkpath"), header.link, "linkpath"),
        size=numbers.get(b"size", header.size),
        uid=numbers.get(b"uid", header.uid),
        gid=numbers.get(b"gid", header.gid),
    )
    time = records.get(b"mtime")
    xattrs = tuple((key[len(XATTR) :], value) for key, value in records.items() if key.startswith(XATTR))
    for key, _ in xattrs:
        checked_name(key, "xattr")
    return PaxValues(changed, _nanoseconds(time) if time else header.mtime * NANO, xattrs)


def checked_name(value: bytes, what: str) -> bytes:
    """Itself. `Corrupt` when it holds a NUL, which no system call takes in a name."""
    if b"\0" in value:
        raise Corrupt(f"pax {what} holds a NUL byte: {value[:80]!r}", hint=_HINT)
    return value


def _name(value: bytes | None, otherwise: bytes, what: str) -> bytes:
    return checked_name(value, what) if value else otherwise


def _decimal(value: bytes, key: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise Corrupt(f"pax {key.decode()} is no sensible number: {value[:40]!r}", hint=_HINT)
    return int(value)


def _nanoseconds(value: bytes) -> int:
    """Decimal seconds with any number of fraction digits; digits past the ninth are dropped."""
    sign = -1 if value.startswith(b"-") else 1
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 12 or not (fraction.isdigit() or not fraction):
        raise Corrupt(f"pax mtime is no time: {value[:40]!r}", hint=_HINT)
    return sign * (int(whole) * NANO + int(fraction[:9].ljust(9, b"0")))
