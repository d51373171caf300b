"""Ports of the node are had by one deployment at a time: who wishes for another's is refused before it counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from zlayer.model import keys
from zlayer.model.claims import Claim, claims
from zlayer.model.errors import Conflict, Problem
from zlayer.model.instance import Deployment, Service
from zlayer.plan.listeners import Clash, clashes
from zlayer.store.contract import Store
from zlayer.store.documents import decoder

_read_deployment = decoder(Deployment)
Services = Mapping[str, Service]


@dataclass(frozen=True, slots=True)
class Guard:
    """To be part of the commit: of two that claim at once, the second looks again."""

    puts: Mapping[str, bytes]
    expect: Mapping[str, int]


NOTHING = Guard({}, {})


class Claimed:
    """Who has which ports, by the store. What is stopped has none; so starting it may be refused."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[int, Deployment]] = {}

    async def check(self, name: str, services: Services, old: Deployment | None) -> Guard:
        """`Conflict` when others have what these services would claim, beyond what they have now."""
        wanted = _claims(name, services)
        if wanted <= (_claims(name, running(old)) if old is not None else frozenset()):
            return NOTHING
        item = await self._store.get(keys.CLAIMS)
        everyone = {one.name: running(one) for one in await self._others(name)}
        if found := clashes({**everyone, name: services}, name):
            raise _refused(found)
        return Guard({keys.CLAIMS: json.dumps(name).encode()}, {keys.CLAIMS: item.modified if item is not None else 0})

    async def _others(self, name: str) -> list[Deployment]:
        """Each document is read once, as long as it stays what it is."""
        items = (await self._store.list(keys.DEPLOYMENTS)).items
        known, self._known = self._known, {}
        for item in items:
            kept = known.get(item.key)
            fresh = kept is None or kept[0] != item.modified
            self._known[item.key] = (item.modified, _read_deployment(item.value)) if fresh or kept is None else kept
        return [one for _, one in self._known.values() if one.name != name]


def running(deployment: Deployment) -> dict[str, Service]:
    """The services that are wanted to run."""
    if deployment.desired != "running":
        return {}
    return {name: one for name, one in deployment.services.items() if not one.stopped}


def _claims(name: str, services: Services) -> frozenset[Claim]:
    return frozenset(claim for service, wanted in services.items() for claim in claims(name, service, wanted))


def _refused(found: list[Clash]) -> Conflict:
    others = sorted({one.rival.deployment for one in found})
    return Conflict(
        str(found[0]),
        hint=f"choose another port, host or path; or end what has it: zlayer down {others[0]}",
        problems=tuple(
            Problem(str(one), path=".".join(map(str, ("services", one.claim.service, *one.claim.place))), kind="Taken")
            for one in found
        ),
    )
