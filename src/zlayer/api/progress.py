"""The progress of one deployment as a stream: its summary when it changes, and its events as they happen."""

from __future__ import annotations

import time

import anyio

from zlayer.api.services import Services
from zlayer.api.streams import Emit, Produce
from zlayer.api.times import rfc3339
from zlayer.model.errors import NotFound
from zlayer.model.instance import Event
from zlayer.model.units import Timestamp

PACE = 0.05
"""Seconds between two summaries at least: a person sees no more."""
REST = 20
"""How many times longer than a summary took the next one waits, if that is more: each one looks at every instance."""
CARRIED_WITHIN = 10.0
"""Seconds that a summary waits at most for traffic to go by it."""


def follow_deployment(api: Services, name: str, since: Timestamp | None = None) -> Produce:
    """Emits `("status", revision, summary)` at once and on change, and `("", id, event)`; ends when it is gone."""

    async def produce(emit: Emit) -> None:
        start = since if since is not None else Timestamp(time.time())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_events, api, name, start, emit)
            await _summaries(api, name, emit)
            tasks.cancel_scope.cancel()

    return produce


async def _summaries(api: Services, name: str, emit: Emit) -> None:
    last: object = None
    while True:
        revision, began, calm = api.views.revision, time.thread_time(), api.views.calm(name)
        try:
            summary = api.views.deployment(name)
            took = time.thread_time() - began
            if summary != last and summary["status"] == "running":
                await _carried(api, revision)
                summary |= {"trouble": api.views.deployment(name)["trouble"]}
        except NotFound:
            return
        if summary != last:
            last = summary
            await emit(("status", "", summary))
        await api.views.changed(revision)
        with anyio.move_on_after(max(PACE, REST * took)):
            await all_is_done(api, name, calm=calm)


async def all_is_done(api: Services, name: str, *, calm: bool) -> None:
    """Returns once nothing is on its way any more: that is waited for. Never, where nothing was before (`calm`)."""
    if calm:
        await anyio.sleep_forever()
    while not api.views.calm(name):
        await api.views.changed(api.views.revision)
    await _carried(api, api.views.revision)  # first: a summary of many services takes longer than a route


async def _carried(api: Services, revision: int) -> None:
    """Who hears that it runs may send requests: names and routes are in force by then, or told to be failing."""
    if api.agent.traffic is not None:
        with anyio.move_on_after(CARRIED_WITHIN):
            await api.agent.traffic.settled(revision)


async def _events(api: Services, name: str, since: Timestamp, emit: Emit) -> None:
    async for events in api.views.events_at_once(since, follow=True):
        if mine := [_told(event) for event in events if event.deployment == name]:
            await emit(*mine)


def _told(event: Event) -> tuple[str, str, dict[str, object]]:
    told = event.model_dump(include={"kind", "message", "service", "instance"})
    return "", f"{event.at:.6f}", told | {"at": rfc3339(event.at)}
