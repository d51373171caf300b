"""How a node's traffic follows the store, and how an instance leaves it: unlisted, confirmed, forgotten, drained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import structlog

from zlayer.agent.drain import Drain
from zlayer.agent.planes import Plane, PlaneLoop, Tell, Trouble
from zlayer.model.instance import Instance
from zlayer.model.routes import RouteTable
from zlayer.model.units import Seconds
from zlayer.proxy.contract import BackendStats, Proxy
from zlayer.store.view import View

log = structlog.get_logger(__name__)

CONFIRM = 15.0
"""Seconds a leaving instance waits for a plane that does not come right: nobody is sent to it by that one's doing."""


class Traffic:
    """`run` until cancelled: what was applied goes on. `tell` takes this node's events; set it before running."""

    def __init__(
        self, view: View, planes: Sequence[Plane[Any]], drain: Drain, proxy: Proxy | None = None
    ) -> None:  # Any: each has its own table
        self.tell: Tell = lambda _kind, _message: None
        self._view, self._drain, self._proxy = view, drain, proxy
        self.planes = [PlaneLoop(plane, view, self._told) for plane in planes]

    def _told(self, kind: str, message: str) -> None:
        self.tell(kind, message)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for plane in self.planes:
                tasks.start_soon(plane.run)

    def routes(self) -> RouteTable:
        return next((p.table for p in self.planes if isinstance(p.table, RouteTable)), RouteTable())

    async def backends(self) -> Mapping[str, BackendStats]:
        return await self._proxy.stats() if self._proxy is not None else {}

    async def settled(self, revision: int) -> None:
        for plane in self.planes:
            await plane.settled(revision)

    def failing(self) -> Mapping[str, str]:
        return {plane.name: plane.failing for plane in self.planes if plane.failing}

    def troubles(self, deployment: str) -> list[Trouble]:
        found = (trouble for plane in self.planes for trouble in plane.troubles)
        return [one for one in found if one.owner.partition("/")[0] == deployment]

    async def published(self, revision: int) -> None:
        """Returns once the proxy goes by a table of that store revision or a later one."""
        for plane in self.planes:
            if plane.name == "routes":
                await plane.reached(revision)

    async def withdraw(self, instance: Instance) -> None:
        """Returns when nobody is sent to the instance any more and what it had is done, or its time for that is over.

        Called again after a crash, it does the same again.
        """
        with anyio.move_on_after(CONFIRM) as confirm:
            revision = await self._unwanted(instance.id)
            for plane in self.planes:
                await plane.without(instance.id, revision)
        if confirm.cancelled_caught:
            failing = [f"{plane.name}: {plane.failing or 'no answer'}" for plane in self.planes]
            log.warning("withdraw.unconfirmed", instance=instance.id, planes=failing)
        patience = self._patience(instance)
        with anyio.move_on_after(patience) as given:
            if not self._all_ends(instance):
                for plane in self.planes:
                    await plane.outlasted(instance.id)
            await self._drain.empty(instance.id)
        if given.cancelled_caught:
            log.info("withdraw.cut", instance=instance.id, after=patience)

    async def _unwanted(self, instance_id: str) -> int:
        """The revision of a picture in which the instance gets nothing new."""
        while True:
            seen = self._view.picture().find(instance_id)
            if seen is None or not seen.live:
                return self._view.revision
            await self._view.moved(self._view.revision)

    def _all_ends(self, instance: Instance) -> bool:
        """Its whole service ends with it: whoever comes late finds no other either."""
        deployment = self._view.picture().deployments.get(instance.deployment)
        service = deployment.services.get(instance.service) if deployment is not None else None
        return deployment is None or service is None or deployment.desired != "running" or service.stopped

    def _patience(self, instance: Instance) -> Seconds:
        """The service's `update.drain`; no longer than the grace where all of it ends, or where a user gave one."""
        deployment = self._view.picture().deployments.get(instance.deployment)
        service = deployment.services.get(instance.service) if deployment is not None else None
        if instance.stop_grace is not None:
            return instance.stop_grace
        if service is None or deployment is None:
            return instance.spec.stop_grace
        if self._all_ends(instance):
            return Seconds(min(service.update.drain, instance.spec.stop_grace))
        return service.update.drain
