"""The kernel's part of a node's traffic: networks, reaches and forwarded ports, as a plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from zlayer.agent.planes import Derived, Parts, Plane, Trouble
from zlayer.model.fabric import Fabric
from zlayer.model.instance import Node
from zlayer.network.contract import Network
from zlayer.plan.fabric import Holdings, concerns, weave
from zlayer.plan.kept import Kept
from zlayer.store.view import Picture, View

Held = Callable[[Picture], frozenset[str]]


def network_plane(node: Node, network: Network, held: Held = lambda _: frozenset()) -> Plane[Fabric]:
    """`held` are ids that get no traffic though they are ready."""
    known: Kept[bool] = Kept()

    def concerned(picture: Picture) -> list[str]:
        known.only(picture.deployments)
        return [name for name, one in picture.deployments.items() if known.get(name, (one,), partial(concerns, one))]

    def derive(picture: Picture) -> Derived[Fabric]:
        given = picture.ports.get(node.id)
        woven = weave(
            Holdings(
                node,
                picture.networks.values(),
                {name: picture.deployments[name] for name in concerned(picture)},
                {name: picture.of(name) for name in concerned(picture)},
                given.given if given is not None else {},
                held(picture),
            ),
            picture.revision,
        )
        return Derived(woven.fabric, woven.members, trouble=tuple(Trouble(why, owner) for owner, why in woven.trouble))

    def made_of(picture: Picture) -> Parts:
        """Of most deployments the kernel is told nothing but their networks, whatever becomes of their instances."""
        groups = (picture.instances.get(name) for name in concerned(picture))
        return (picture.deployments, picture.networks, picture.ports, *groups)

    return Plane("network", derive, network.apply, network.disturbed, made_of, _homes)


def _homes(fabric: Fabric) -> list[str]:
    return [subnet.name for subnet in fabric.subnets]


def forwarded(view: View, network: Network) -> Callable[[Collection[str]], Awaitable[Mapping[str, int]]]:
    """What a `Drain` asks: connections that instances still have through forwarded ports, by instance."""

    async def count(ids: Collection[str]) -> Mapping[str, int]:
        found = (view.picture().find(one) for one in ids)
        addresses = {s.instance.address: s.id for s in found if s is not None and s.instance.address is not None}
        counted = await network.flows(addresses)
        return {addresses[address]: number for address, number in counted.items()}

    return count
