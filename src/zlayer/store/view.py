"""Everything a turn looks at: one picture of the store, never between two halves of a commit.

One watch over all keys keeps it, so documents of different kinds are always of one revision. Pictures share what did
not change, so taking one costs what changed and not what there is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from zlayer.model import keys
from zlayer.model.certificate import Order, StoredCertificate
from zlayer.model.errors import Compacted, Unavailable
from zlayer.model.instance import Deployment, Instance, InstanceStatus, Node
from zlayer.model.network import Network, Ports
from zlayer.model.seen import Seen
from zlayer.store.contract import Item, Store
from zlayer.store.documents import decoder, read

_read_deployment = decoder(Deployment)
_read_instance = decoder(Instance)
_read_instancestatus = decoder(InstanceStatus)
_read_node = decoder(Node)
_read_network = decoder(Network)
_read_ports = decoder(Ports)
_read_certificate = decoder(StoredCertificate)
_read_order = decoder(Order)

log = structlog.get_logger(__name__)

_KINDS: dict[str, Callable[[bytes], Any]] = {  # Any: each prefix has its own document type
    keys.DEPLOYMENTS: _read_deployment,
    keys.INSTANCES: _read_instance,
    keys.STATUS: _read_instancestatus,
    keys.NODES: _read_node,
    keys.ADDRESSES: json.loads,
    keys.NETWORKS: _read_network,
    keys.PORTS: _read_ports,
    keys.CERTIFICATES: _read_certificate,
    keys.ORDERS: _read_order,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """`instances` by deployment, then by id. `addresses` maps `node/ip` to the instance id, `networks` are by
    `node/deployment`, `ports` by node. Do not change the maps."""

    revision: int
    deployments: Mapping[str, Deployment]
    instances: Mapping[str, Mapping[str, Seen]]
    nodes: Mapping[str, Node]
    addresses: Mapping[str, str]
    networks: Mapping[str, Network] = field(default_factory=dict)
    ports: Mapping[str, Ports] = field(default_factory=dict)
    certificates: Mapping[str, StoredCertificate] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)

    def all(self) -> dict[str, Seen]:
        return {key: seen for group in self.instances.values() for key, seen in group.items()}

    def of(self, deployment: str) -> list[Seen]:
        return list(self.instances.get(deployment, {}).values())

    def find(self, instance_id: str) -> Seen | None:
        for group in self.instances.values():
            if instance_id in group:
                return group[instance_id]
        return None


@dataclass(slots=True)
class _Tables:
    documents: dict[str, dict[str, Any]] = field(default_factory=lambda: {prefix: {} for prefix in _KINDS})
    modified: dict[str, int] = field(default_factory=dict)
    copies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of `documents`, as pictures have them: the same object for as long as nothing of its kind changes."""
    groups: dict[str, dict[str, Seen]] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    """Deployments with a change since someone last took the set."""

    def put(self, item: Item) -> None:
        prefix = _prefix(item.key)
        if prefix is None:
            return
        name = item.key.removeprefix(prefix)
        document = read(_KINDS[prefix], item)
        if prefix == keys.DEPLOYMENTS and (old := self.documents[prefix].get(name)) is not None:
            document = _sharing(document, old)
        self.documents[prefix][name] = document
        self.copies.pop(prefix, None)
        self.modified[item.key] = item.modified
        self._join(prefix, name)

    def delete(self, key: str) -> None:
        prefix = _prefix(key)
        if prefix is None:
            return
        name = key.removeprefix(prefix)
        old = self.documents[prefix].pop(name, None)
        self.copies.pop(prefix, None)
        self.modified.pop(key, None)
        if prefix == keys.INSTANCES and old is not None:
            self.dirty.add(old.deployment)
            group = {k: v for k, v in self.groups.get(old.deployment, {}).items() if k != name}
            if group:
                self.groups[old.deployment] = group
            else:
                self.groups.pop(old.deployment, None)
        else:
            self._join(prefix, name)

    def all(self, prefix: str) -> dict[str, Any]:
        if prefix not in self.copies:
            self.copies[prefix] = dict(self.documents[prefix])
        return self.copies[prefix]

    def _join(self, prefix: str, name: str) -> None:
        if prefix == keys.DEPLOYMENTS:
            self.dirty.add(name)
        if prefix not in (keys.INSTANCES, keys.STATUS):
            return
        instance: Instance | None = self.documents[keys.INSTANCES].get(name)
        if instance is None:
            return
        seen = Seen(instance, self.documents[keys.STATUS].get(name))
        self.groups[instance.deployment] = {**self.groups.get(instance.deployment, {}), name: seen}
        self.dirty.add(instance.deployment)


def _sharing(new: Deployment, old: Deployment) -> Deployment:
    """With those very services of `old` that are the same: what was worked out of each holds on."""
    services = {name: known if (known := old.services.get(name)) == one else one for name, one in new.services.items()}
    return new.model_copy(update={"services": services})


def _prefix(key: str) -> str | None:
    return next((prefix for prefix in _KINDS if key.startswith(prefix)), None)


class View:
    """Async context manager holding the watch. Several readers may share one view."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = _Tables()
        self._picture: Picture | None = None
        self._moved = anyio.Event()
        self._tasks: TaskGroup | None = None
        self.revision = 0

    async def __aenter__(self) -> View:
        await self._relist()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._follow)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def picture(self) -> Picture:
        if self._picture is None:
            every = self._tables.all
            self._picture = Picture(
                revision=self.revision,
                deployments=every(keys.DEPLOYMENTS),
                instances=dict(self._tables.groups),
                nodes=every(keys.NODES),
                addresses=every(keys.ADDRESSES),
                networks=every(keys.NETWORKS),
                ports=every(keys.PORTS),
                certificates=every(keys.CERTIFICATES),
                orders=every(keys.ORDERS),
            )
        return self._picture

    def modified(self, key: str) -> int:
        """What a guarded write based on this view expects of the key; 0: it is not there."""
        return self._tables.modified.get(key, 0)

    def take_dirty(self) -> set[str]:
        """Deployments that changed since the last call. For one reader only: the controllers."""
        dirty, self._tables.dirty = self._tables.dirty, set()
        return dirty

    async def moved(self, after: int) -> int:
        """Returns the view's revision once it is past `after`."""
        while self.revision <= after:
            await self._moved.wait()
        return self.revision

    async def reached(self, revision: int) -> None:
        """Returns once the view shows what was committed at `revision`."""
        await self.moved(revision - 1)

    async def _relist(self) -> None:
        listing = await self._store.list("/")
        tables = _Tables()
        for item in listing.items:
            tables.put(item)
        tables.dirty |= self._tables.documents[keys.DEPLOYMENTS].keys() | self._tables.groups.keys()
        self._tables = tables
        self._advance(listing.revision)

    def _advance(self, revision: int) -> None:
        self.revision = revision
        self._picture = None
        self._moved.set()
        self._moved = anyio.Event()

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                async for batch in self._store.watch("/", self.revision):
                    failures = 0
                    for change in batch.changes:
                        if change.item is None:
                            self._tables.delete(change.key)
                        else:
                            self._tables.put(change.item)
                    self._advance(batch.revision)
            except Compacted:
                await self._relist()
            except Unavailable as error:
                failures += 1
                log.warning("view.watch_failed", error=error.message)
                await anyio.sleep(min(5.0, 0.1 * 2**failures))


@asynccontextmanager
async def sharing(view: View | None, store: Store) -> AsyncIterator[View]:
    """`view`, which its owner has open; without one, a view of our own."""
    if view is not None:
        yield view
        return
    async with View(store) as own:
        yield own
