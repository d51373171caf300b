"""What HAProxy answers, as values: servers, maps, processes, counters. Formats: its management guide, chapter 9."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zlayer.proxy.haproxy.picture import HTTP2, PROXIED, UNKNOWN, Member

FORCED_MAINTENANCE = 0x01
_MASTER = re.compile(r"^(\d+)\s+master\s+(\d+)(?:\s+\[failed:\s*(\d+)\])?", re.MULTILINE)
WHOLE = "BACKEND"
"""Where `show stat` names a server, this is the sum of all."""
_SLOT = re.compile(r"^be(\d+)$")


@dataclass(frozen=True, slots=True)
class Processes:
    """`show proc` of the master: its own pid, how often it reloaded, how often in vain, and its workers."""

    master: int
    reloads: int = 0
    failed: int = 0
    workers: tuple[int, ...] = ()
    old: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """A line of `show stat`: a server of a slot, or the slot itself (`server` is `WHOLE`)."""

    slot: int
    server: str
    status: str
    current: int
    queued: int
    total: int
    errors: int
    rate: int
    responses: Mapping[str, int] = field(default_factory=dict)


def processes(text: str) -> Processes | None:
    """None: not a listing of processes, as while the master starts anew."""
    found = _MASTER.search(text)
    if found is None:
        return None
    current, old = text.partition("# old workers")[::2]
    old = old.partition("# programs")[0]
    current = current.partition("# workers")[2].partition("# programs")[0]
    return Processes(int(found[1]), int(found[2]), int(found[3] or 0), _pids(current), _pids(old))


def _pids(text: str) -> tuple[int, ...]:
    return tuple(int(match) for match in re.findall(r"^(\d+)\s+worker", text, re.MULTILINE))


def info(text: str) -> dict[str, str]:
    """`show info` as names and values."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def servers(text: str) -> dict[int, dict[str, Member]]:
    """`show servers state` of our slots. How many connections a server may have it does not tell."""
    found: dict[int, dict[str, Member]] = {}
    names: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith("# "):
            names = words[1:]
        elif len(words) == len(names) and (slot := _SLOT.match(words[1])):
            row = dict(zip(names, words, strict=True))
            found.setdefault(int(slot[1]), {})[row["srv_name"]] = _member(row)
    return found


def _member(row: Mapping[str, str]) -> Member:
    name = row["srv_name"]
    return Member(
        row["srv_addr"],
        int(row["srv_port"]),
        weight=int(row["srv_uweight"]),
        limit=UNKNOWN,
        on=not int(row["srv_admin_state"]) & FORCED_MAINTENANCE,
        http2=HTTP2 in name,
        proxied=name.endswith(PROXIED),
    )


def entries(text: str) -> dict[str, str]:
    """`show map F`: a line is a reference, a key and a value."""
    lines = (line.split(" ", 2) for line in text.splitlines() if line.startswith("0x"))
    return {line[1]: line[2].strip() for line in lines if len(line) == 3}


def counts(text: str) -> Iterator[Count]:
    """`show stat` (CSV) of our slots."""
    for row in csv.DictReader(text.strip().removeprefix("# ").splitlines()):
        if slot := _SLOT.match(row.get("pxname") or ""):
            yield Count(
                int(slot[1]),
                row["svname"],
                row["status"],
                current=_number(row["scur"]),
                queued=_number(row["qcur"]),
                total=_number(row["stot"]),
                errors=_number(row["econ"]) + _number(row["eresp"]),
                rate=_number(row["rate"]),
                responses={f"{n}xx": _number(row[f"hrsp_{n}xx"]) for n in range(1, 6)},
            )


def _number(text: str | None) -> int:
    return int(text) if text else 0
