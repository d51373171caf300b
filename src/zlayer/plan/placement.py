"""Where instances go, and which address they get there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zlayer.model.errors import Exhausted
from zlayer.model.instance import Instance, Node
from zlayer.plan.ipam import pick
from zlayer.plan.seen import Seen


@dataclass(frozen=True, slots=True)
class Place:
    """Give this instance that node and address."""

    instance: Instance
    node: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why an instance stays without a node."""

    instance: Instance
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    places: tuple[Place, ...]
    unplaced: tuple[Unplaced, ...]


def place(
    seen: Iterable[Seen],
    nodes: Mapping[str, Node],
    taken: Mapping[str, Iterable[str]],
    cursor: Mapping[str, str],
) -> Placement:
    """Places for every wanted instance without one, in the order they were made.

    `taken` maps node ids to addresses in use, `cursor` to the address given last (search goes on behind it).
    """
    everyone = list(seen)
    ready = sorted((n for n in nodes.values() if n.ready), key=lambda n: n.id)
    load = Counter(one.instance.node for one in everyone if one.live and one.instance.node is not None)
    used = {node: set(addresses) for node, addresses in taken.items()}
    last = dict(cursor)
    places: list[Place] = []
    unplaced: list[Unplaced] = []
    waiting = [one.instance for one in everyone if one.instance.node is None and one.live]
    for instance in sorted(waiting, key=lambda i: (i.created_at, i.service, i.slot, i.id)):
        fitting = _fits(instance, ready)
        if not fitting:
            unplaced.append(Unplaced(instance, _why(instance, nodes.values())))
            continue
        node = min(fitting, key=lambda n: (load[n.id], n.id))
        address = None
        if instance.spec.network_mode == "bridge":
            try:
                address = pick(node.subnet, used.setdefault(node.id, set()), after=last.get(node.id))
            except Exhausted as full:
                unplaced.append(Unplaced(instance, f"{full.message}; {full.hint}"))
                continue
            used[node.id].add(address)
            last[node.id] = address
        load[node.id] += 1
        places.append(Place(instance, node.id, address))
    return Placement(tuple(places), tuple(unplaced))


def _fits(instance: Instance, nodes: Sequence[Node]) -> list[Node]:
    wanted = instance.spec.platform
    return [n for n in nodes if wanted is None or _matches(wanted, n.platform)]


def _matches(wanted: str, have: str) -> bool:
    return wanted.split("/")[:2] == have.split("/")[:2]


def _why(instance: Instance, nodes: Iterable[Node]) -> str:
    reasons = [f"{n.id}: {_no(instance, n)}" for n in sorted(nodes, key=lambda n: n.id)]
    return "no node can take it: " + ("; ".join(reasons) if reasons else "there are no nodes")


def _no(instance: Instance, node: Node) -> str:
    if not node.ready:
        return f"not ready ({node.reason})" if node.reason else "not ready"
    return f"is {node.platform}, the instance wants {instance.spec.platform}"
