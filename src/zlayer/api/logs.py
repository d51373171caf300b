"""The log of a service: the logs of its instances, oldest line first, followed across restarts and new replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any

import anyio

from zlayer.api.services import Services
from zlayer.api.streams import Emit
from zlayer.api.times import rfc3339
from zlayer.model.errors import NotFound
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import LogLine

Row = Mapping[str, Any]  # Any: a `ps -c` object
Choose = Callable[[], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Window:
    """The newest `lines` (None: all) that are not older than `since`; `follow` goes on with what comes."""

    lines: int | None
    since: Timestamp | None
    follow: bool


async def send_logs(api: Services, choose: Choose, window: Window, emit: Emit) -> None:
    """Emit the lines of the instances `choose` names now, and with `follow` of those it will name later.

    The past is merged by time over all instances; what follows comes as it is written. A follow ends when the caller
    cancels it or `choose` raises `NotFound`: the deployment is gone.
    """
    known: dict[str, _Tail] = {}
    past: list[list[tuple[LogLine, _Tail]]] = []
    for row in choose():
        tail = known[row["id"]] = _Tail(api, row)
        past.append(await tail.past(window))
    merged = list(merge(*past, key=lambda pair: pair[0].at))
    for line, tail in merged if window.lines is None else merged[len(merged) - min(window.lines, len(merged)) :]:
        await emit(line_json(line, tail.row))
    if not window.follow:
        return
    async with anyio.create_task_group() as tasks:
        for tail in known.values():
            tasks.start_soon(tail.follow, window.since, emit)
        while True:
            revision = api.views.revision
            try:
                rows = choose()
            except NotFound:
                break
            for row in rows:
                if row["id"] not in known:
                    known[row["id"]] = _Tail(api, row)
                    tasks.start_soon(known[row["id"]].follow, None, emit)
            await api.views.changed(revision)


class _Tail:
    """One instance's log: its past, then what follows it without a gap and without a line twice."""

    def __init__(self, api: Services, row: Row) -> None:
        self.row = row
        self._api = api
        self._seen: list[LogLine] = []

    async def past(self, window: Window) -> list[tuple[LogLine, _Tail]]:
        lines = await self._read(window)
        if lines:
            self._seen = [line for line in lines if line.at == lines[-1].at]
        return [(line, self) for line in lines]

    async def _read(self, window: Window) -> list[LogLine]:
        try:
            tail = None if window.lines is None else max(1, window.lines)  # the last line marks where to go on
            source = self._api.agent.logs(self.row["id"], tail=tail, since=window.since)
            return [line async for line in source]
        except NotFound:  # taken apart since we looked, or not begun: no lines of it
            return []

    async def follow(self, since: Timestamp | None, emit: Emit) -> None:
        """From the last line of the past on: lines of that very instant are skipped if they were sent already."""
        start = self._seen[-1].at if self._seen else since
        skip = list(self._seen)
        try:
            async for line in self._api.agent.logs(self.row["id"], since=start, follow=True):
                if line in skip:
                    skip.remove(line)
                else:
                    await emit(line_json(line, self.row))
        except NotFound:
            return


def line_json(line: LogLine, row: Row) -> dict[str, object]:
    return {
        "at": rfc3339(line.at),
        "stream": line.stream,
        "instance": row["id"],
        "service": row["service"],
        "slot": row["replica"],
        "data": line.data.decode("utf-8", "replace"),
        "partial": line.partial,
    }


def plain(item: Mapping[str, Any]) -> bytes:
    """A line as raw text, for `Accept: text/plain`; a problem as one line that says so."""
    if "error" in item:
        return f"zlayer: {item['error']['detail']}\n".encode()
    return str(item["data"]).encode() + (b"" if item["partial"] else b"\n")
