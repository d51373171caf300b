"""Which node a data directory is, and which subnet it has: found at the first start, kept ever after."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zlayer.daemon.config import Config
from zlayer.model import keys
from zlayer.model.errors import Conflict
from zlayer.model.instance import Instance, Node
from zlayer.model.units import Timestamp
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, read

_read_instance = decoder(Instance)
_read_node = decoder(Node)


@dataclass(frozen=True, slots=True)
class Choose:
    """`subnet` finds a free pool, the given one if it is; `subnet6` an IPv6 prefix, empty where there is no IPv6."""

    subnet: Callable[[str | None], str]
    subnet6: Callable[[], str] = str


async def identify(
    store: Store, config: Config, *, choose: Choose, runtime: str, platform: str, now: Timestamp
) -> Node:
    """This node's document, not stored yet. A stored name or subnet stays while instances of the node exist.

    Raises `Conflict` when the configuration wants another one while they do.
    """
    nodes = [read(_read_node, item) for item in (await store.list(keys.NODES)).items]
    kept = nodes[0] if len(nodes) == 1 else None
    name = config.node_name or (kept.id if kept is not None else host_name())
    used = await _used(store, kept)
    if kept is not None and used:
        _refuse_change("node_name", kept.id, name, used)
        _refuse_change("subnet", kept.subnet, config.subnet or kept.subnet, used)
        subnet = kept.subnet
    else:
        subnet = config.subnet or choose.subnet(kept.subnet if kept is not None else None)
    return Node(
        id=name,
        subnet=subnet,
        subnet6=_subnet6(config, kept if used else None, choose),
        platform=platform,
        cpus=float(len(os.sched_getaffinity(0))),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        runtime=runtime,
        seen_at=now,
    )


def _subnet6(config: Config, used: Node | None, choose: Choose) -> str:
    if not config.ipv6:
        return ""
    return used.subnet6 if used is not None and used.subnet6 else choose.subnet6()


def host_name() -> str:
    """The machine's name as an id: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-") or "node"


async def forget_others(store: Store, node: Node) -> None:
    """Take away the documents of this single node's earlier names: nothing of them is left."""
    listing = await store.list(keys.NODES)
    stale = [item.key for item in listing.items if item.key != keys.node(node.id)]
    for prefix in (keys.NETWORKS, keys.PORTS):
        items = (await store.list(prefix)).items
        stale += [item.key for item in items if item.key.removeprefix(prefix).partition("/")[0] != node.id]
    if stale:
        await store.commit(deletes=stale)


async def _used(store: Store, node: Node | None) -> Sequence[str]:
    if node is None:
        return ()
    instances = (read(_read_instance, item) for item in (await store.list(keys.INSTANCES)).items)
    return [one.id for one in instances if one.node == node.id]


def _refuse_change(key: str, old: str, new: str, used: Sequence[str]) -> None:
    if old != new:
        raise Conflict(
            f"{key} is {old}, and {len(used)} instances depend on it (the first is {used[0]})",
            hint=f"`zlayer down` everything before changing {key} to {new}, or set it back",
        )
