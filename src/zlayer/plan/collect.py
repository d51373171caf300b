"""What may be forgotten: finished instances, freed addresses, removed deployments, old events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from zlayer.model.instance import ONE_OFF, Deployment
from zlayer.model.network import Network
from zlayer.plan.seen import Seen

KEEP_ENDED = 3
"""Ended instances kept per replica for their logs and exit codes."""
KEEP_ONE_OFFS = 50
KEEP_EVENTS = 2000


@dataclass(frozen=True, slots=True)
class Collection:
    """`remove`: ids to mark removed. `forget`: ids whose documents go. `addresses`: address keys to free.

    `networks`: those to give back, as `node/deployment`.
    """

    remove: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


def collect(
    deployments: Mapping[str, Deployment],
    instances: Mapping[str, Seen],
    addresses: Mapping[str, str],
    networks: Mapping[str, Network] | None = None,
) -> Collection:
    """`addresses` maps `node/ip` to the instance id that holds it, `networks` are by `node/deployment`.

    Nothing that is wanted or unreleased is touched.
    """
    forget = {one.id for one in instances.values() if _forgettable(one)}
    freed = [key for key, owner in addresses.items() if owner in forget or _free(owner, instances)]
    alive = {one.instance.deployment for one in instances.values() if one.id not in forget}
    done = [d.name for d in deployments.values() if d.desired == "removed" and d.name not in alive]
    return Collection(
        remove=tuple(sorted(_overdue(instances.values()))),
        forget=tuple(sorted(forget)),
        addresses=tuple(sorted(freed)),
        deployments=tuple(sorted(done)),
        networks=tuple(sorted(_idle(networks or {}, deployments.keys() - set(done), addresses.keys() - set(freed)))),
    )


def _idle(networks: Mapping[str, Network], deployments: Set[str], addresses: Iterable[str]) -> Sequence[str]:
    """Of deployments that are gone, without an address in use. One-offs keep theirs: the next one is soon."""
    leaving = {k: n for k, n in networks.items() if n.deployment != ONE_OFF and n.deployment not in deployments}
    if not leaving:
        return ()
    held = [(node, IPv4Address(ip)) for node, _, ip in (key.partition("/") for key in addresses)]
    return [key for key, one in leaving.items() if not any(_holds(one, node, ip) for node, ip in held)]


def _holds(network: Network, node: str, address: IPv4Address) -> bool:
    return node == network.node and any(address in IPv4Network(block) for block in network.blocks)


def _forgettable(one: Seen) -> bool:
    gone = one.status is not None and one.status.gone
    if one.instance.desired != "removed":
        return gone and one.instance.remove_on_exit
    return gone or one.instance.node is None


def _free(owner: str, instances: Mapping[str, Seen]) -> bool:
    one = instances.get(owner)
    return one is None or (one.ended and one.released)


@dataclass(slots=True)
class _Shelf:
    keep: int
    ended: list[Seen] = field(default_factory=list)


def _overdue(instances: Iterable[Seen]) -> Sequence[str]:
    shelves: dict[tuple[str, str, int], _Shelf] = {}
    overdue: list[str] = []
    for one in instances:
        instance = one.instance
        if instance.desired == "removed" or instance.remove_on_exit or not (one.ended and one.released):
            continue
        if instance.deployment == ONE_OFF:
            shelves.setdefault((ONE_OFF, "", 0), _Shelf(KEEP_ONE_OFFS)).ended.append(one)
        elif instance.desired == "stopped":
            key = (instance.deployment, instance.service, instance.slot)
            shelves.setdefault(key, _Shelf(KEEP_ENDED)).ended.append(one)
    for shelf in shelves.values():
        shelf.ended.sort(key=lambda s: (s.instance.created_at, s.instance.attempt, s.id))
        overdue.extend(one.id for one in shelf.ended[: -shelf.keep])
    return overdue
