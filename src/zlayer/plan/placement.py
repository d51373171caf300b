"""Where instances go, and which address they get there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zlayer.model.errors import Exhausted
from zlayer.model.instance import Instance, Node
from zlayer.model.network import Network
from zlayer.plan.ipam import Allotment
from zlayer.plan.seen import Seen

SHARED = "container:"
"""What a network mode begins with that is another instance's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Give this instance that node and address."""

    instance: Instance
    node: str
    address: str | None
    shares: str | None = None
    """Whose address it is, when it is another instance's."""

    def settled(self) -> Instance:
        """The instance in its place."""
        where = {"node": self.node, "address": self.address, "shares": self.shares, "unplaced": ""}
        return self.instance.model_copy(update=where)


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why an instance stays without a node."""

    instance: Instance
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """`networks` must be written with the places: they are made, or have a block more."""

    places: tuple[Place, ...]
    unplaced: tuple[Unplaced, ...]
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Ground:
    """What places are given on. `taken` maps node ids to addresses in use, `cursor` a node and a deployment to the
    address that was given last (the search goes on behind it)."""

    nodes: Mapping[str, Node]
    networks: Iterable[Network] = ()
    taken: Mapping[str, Iterable[str]] = field(default_factory=dict)
    cursor: Mapping[tuple[str, str], str] = field(default_factory=dict)


def place(seen: Iterable[Seen], ground: Ground) -> Placement:
    """Places for every wanted instance without one, in the order they were made."""
    everyone = list(seen)
    draft = _Draft(ground, everyone)
    waiting = [one.instance for one in everyone if one.instance.node is None and one.live]
    for instance in sorted(waiting, key=lambda i: (_shares(i), i.created_at, i.service, i.slot, i.id)):
        draft.place(instance)
    networks = [network for node in draft.allotments.values() for network in node.changed.values()]
    return Placement(tuple(draft.places), tuple(draft.unplaced), tuple(networks))


class _Draft:
    def __init__(self, ground: Ground, everyone: Sequence[Seen]) -> None:
        self.places: list[Place] = []
        self.unplaced: list[Unplaced] = []
        self.allotments: dict[str, Allotment] = {}
        self._ground = ground
        self._everyone = everyone
        self._ready = sorted((n for n in ground.nodes.values() if n.ready), key=lambda n: n.id)
        self._load = Counter(one.instance.node for one in everyone if one.live and one.instance.node is not None)
        self._last = dict(ground.cursor)

    def place(self, instance: Instance) -> None:
        if _shares(instance):
            self._beside(instance)
            return
        fitting = _fits(instance, self._ready)
        if not fitting:
            self.unplaced.append(Unplaced(instance, _why(instance, self._ground.nodes.values())))
            return
        node = min(fitting, key=lambda n: (self._load[n.id], n.id))
        address = None
        if instance.spec.network_mode == "bridge":
            try:
                address = self._address(node, instance.deployment)
            except Exhausted as full:
                self.unplaced.append(Unplaced(instance, f"{node.id}: {full.message}; {full.hint}"))
                return
        self._put(instance, node.id, address)

    def _beside(self, instance: Instance) -> None:
        """On the node of the instance whose network it shares: the same replica of a service, or one by its id."""
        name = instance.spec.network_mode.removeprefix(SHARED)
        others = [one.instance for one in self._everyone if one.live and not one.ended]
        replicas = [
            i for i in others if (i.deployment, i.service, i.slot) == (instance.deployment, name, instance.slot)
        ]
        wanted = {i.id for i in replicas} or {name}
        homes = [i for i in others if i.id in wanted and i.node] + [p.settled() for p in self.places]
        host = max((i for i in homes if i.id in wanted), key=lambda i: (i.created_at, i.attempt, i.id), default=None)
        if host is None or host.node is None:
            self.unplaced.append(Unplaced(instance, f"it shares the network of {name}, which does not run"))
            return
        self._load[host.node] += 1
        self.places.append(Place(instance, host.node, host.address, shares=host.id))

    def _put(self, instance: Instance, node: str, address: str | None) -> None:
        self._load[node] += 1
        self.places.append(Place(instance, node, address))

    def _address(self, node: Node, deployment: str) -> str:
        if node.id not in self.allotments:
            taken = self._ground.taken.get(node.id, ())
            self.allotments[node.id] = Allotment(node, self._ground.networks, taken)
        last = self._last.get((node.id, deployment))
        address = self.allotments[node.id].give(deployment, after=last)
        self._last[node.id, deployment] = address
        return address


def _shares(instance: Instance) -> bool:
    return instance.spec.network_mode.startswith(SHARED)


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
