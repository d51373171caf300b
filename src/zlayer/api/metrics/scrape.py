"""One scrape: what is known is read at once, what must be asked for is asked with a deadline.

Cost with 200 services of 5 replicas each behind the proxy: 4,600 lines, 370 KB, 45 ms of a thread, and one `show stat`
of HAProxy and of each worker it replaced that still lives. It grows with replicas and endpoints, never with requests,
history or time. Pictures do not change, so a thread may read them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio
import structlog
from anyio import to_thread

from zlayer.agent.contract import NodeTraffic
from zlayer.api.metrics import certificates, deployments, node, traffic
from zlayer.api.metrics.exposition import Family, exposition, gauge
from zlayer.api.process import taken
from zlayer.api.services import Services
from zlayer.model.errors import ZlayerError
from zlayer.model.units import Seconds

log = structlog.get_logger()
T = TypeVar("T")

PATIENCE = Seconds(3)
"""For each part that must be asked: all of them within the ten seconds Prometheus gives a scrape."""


async def scrape(api: Services) -> bytes:
    """Always an answer: a part that does not tell in time is left out, and named in `zlayer_scrape_part_failed`."""
    parts = _Parts()
    asked = [*await _proxy(api.agent.traffic, parts), *await _stock(api, parts), *await _disk(api, parts)]
    picture, now = api.views.picture(), time.time()

    def tell() -> bytes:
        families = [
            *deployments.deployments(picture),
            *deployments.instances(picture),
            *certificates.certificates(picture, now),
            *asked,
            *node.daemon(api.facts, picture.revision, taken()),
            parts.family(),
        ]
        return exposition(families)

    return await to_thread.run_sync(tell)  # tens of milliseconds with 1,000 replicas: the loop has others to serve


class _Parts:
    """What had to be asked for, and whether it told."""

    def __init__(self) -> None:
        self._failed: dict[str, bool] = {}

    async def ask(self, name: str, call: Callable[[], Awaitable[T]]) -> T | None:
        self._failed[name] = True
        reason = f"no answer within {PATIENCE:g} s"
        with anyio.move_on_after(PATIENCE):
            try:
                found = await call()
            except (ZlayerError, OSError) as error:
                reason = error.message if isinstance(error, ZlayerError) else str(error)
            else:
                self._failed[name] = False
                return found
        log.warning("scrape.part_failed", part=name, error=reason)
        return None

    def family(self) -> Family:
        return gauge(
            "zlayer_scrape_part_failed",
            "1 where this part of this scrape could not be read and is left out; the log says why.",
            [({"part": name}, int(failed)) for name, failed in self._failed.items()],
        )


async def _proxy(node_traffic: NodeTraffic | None, parts: _Parts) -> list[Family]:
    if node_traffic is None:
        return []
    stats = await parts.ask("proxy", node_traffic.backends)
    failing = traffic.planes(node_traffic.failing())
    return [*failing, *(traffic.proxy(stats) if stats is not None else ())]


async def _stock(api: Services, parts: _Parts) -> list[Family]:
    totals = await parts.ask("images", api.agent.images.stock.totals)
    if totals is None:
        return []
    return [*node.images(totals), *(node.s3(totals.s3) if totals.s3 is not None else ())]


async def _disk(api: Services, parts: _Parts) -> list[Family]:
    found = await parts.ask("disk", partial(to_thread.run_sync, os.statvfs, api.facts.data_dir, abandon_on_cancel=True))
    if found is None:
        return []
    return list(node.disk(node.Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)))
