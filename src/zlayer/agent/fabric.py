"""The kernel's part of a node's traffic: networks, reaches and forwarded ports, as a plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from zlayer.agent.planes import Derived, Plane, Trouble
from zlayer.model.fabric import Fabric
from zlayer.model.instance import Node
from zlayer.network.contract import Network
from zlayer.plan.fabric import Holdings, weave
from zlayer.store.view import Picture, View

Held = Callable[[Picture], frozenset[str]]


def network_plane(node: Node, network: Network, held: Held = lambda _: frozenset()) -> Plane[Fabric]:
    """`held` are ids that get no traffic though they are ready."""

    def derive(picture: Picture) -> Derived[Fabric]:
        given = picture.ports.get(node.id)
        woven = weave(
            Holdings(
                node,
                picture.networks.values(),
                picture.deployments,
                {name: picture.of(name) for name in picture.instances},
                given.given if given is not None else {},
                held(picture),
            ),
            picture.revision,
        )
        return Derived(woven.fabric, woven.members, trouble=tuple(Trouble(why, owner) for owner, why in woven.trouble))

    return Plane("network", derive, network.apply, network.disturbed, concerned=_homes)


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
