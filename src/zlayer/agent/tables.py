"""The proxy's and the name server's parts of a node's traffic, as planes: whole tables, derived from a picture.

Groups of a picture are new objects exactly when something in them changed, so "the same objects" means "the same
answer": a change in one of 200 deployments costs a look at that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from zlayer.agent.planes import Derived, Parts, Plane, Trouble, of_deployments
from zlayer.model.addressing import address6, gateway
from zlayer.model.fabric import Subnet
from zlayer.model.instance import Deployment, Node
from zlayer.model.network import subnet_of
from zlayer.model.routes import RouteTable
from zlayer.model.secret import Secret
from zlayer.model.seen import Seen
from zlayer.model.zone import Zone
from zlayer.network.dns.contract import NameServer
from zlayer.plan.admission import admission, held
from zlayer.plan.ipam import usable
from zlayer.plan.needs import table_certificates
from zlayer.plan.routes import ONLY_HERE, Certificates, Piece, pieces, table
from zlayer.plan.zone import TTL, Door, Names, names, zone
from zlayer.proxy.contract import Proxy
from zlayer.store.view import Picture

T = TypeVar("T")
Unseal = Callable[[str, str], Secret]


@dataclass(frozen=True, slots=True)
class Home:
    """What a deployment's network is on this node. `listen` are its gateways: the node, as its containers see it."""

    subnet: Subnet
    listen: tuple[str, ...]


class Kept(Generic[T]):
    """An answer per name, each with the objects it was made of; made again when one of them is another object."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], T]] = {}

    def get(self, name: str, made_of: tuple[object, ...], make: Callable[[], T]) -> T:
        known = self._known.get(name)
        if known is None or any(a is not b for a, b in zip(known[0], made_of, strict=True)):
            known = self._known[name] = (made_of, make())
        return known[1]

    def only(self, present: Mapping[str, object]) -> None:
        for name in self._known.keys() - present.keys():
            del self._known[name]


class Homes:
    """The networks of a node as a picture has them, by deployment."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._kept: Kept[Home] = Kept()

    def of(self, picture: Picture) -> dict[str, Home]:
        here = {one.deployment: one for one in picture.networks.values() if usable(one, self._node)}
        self._kept.only(here)
        found = {}
        for name, network in here.items():

            def make() -> Home:
                subnet = subnet_of(network, self._node)  # noqa: B023 - called at once
                firsts = (*subnet.blocks[:1], *subnet.blocks6[:1])
                return Home(subnet, tuple(gateway(block) for block in firsts))

            found[name] = self._kept.get(name, (network,), make)
        return found


def ready_ids(picture: Picture) -> frozenset[str]:
    """Instances that any table may send somebody to."""
    return frozenset(
        key for group in picture.instances.values() for key, one in group.items() if one.ready and one.live
    )


def routes_plane(node: Node, proxy: Proxy, unseal: Unseal, acme_port: int) -> Plane[RouteTable]:
    homes, kept, chosen = Homes(node), Kept[tuple[Piece, ...]](), Kept[tuple[Certificates, tuple[str, ...]]]()

    def derive(picture: Picture) -> Derived[RouteTable]:
        here = homes.of(picture)
        wanted = {
            name: one
            for name, one in picture.deployments.items()
            if one.desired == "running" and any(service.endpoints for service in one.services.values())
        }
        kept.only(wanted)
        parts = []
        for name, one in wanted.items():
            group, home = picture.instances.get(name), here.get(name)
            parts.append(kept.get(name, (one, group, home), lambda: _pieces(one, group, home)))  # noqa: B023 - at once
        certificates, faults = chosen.get(
            "", (picture.deployments, picture.certificates, picture.orders), lambda: _certificates(picture)
        )
        made, clashes = table(parts, certificates, revision=picture.revision)
        members = frozenset(server.id for backend in made.backends for server in backend.servers)
        trouble = [Trouble(why, owner) for owner, why in clashes] + [Trouble(fault) for fault in faults]
        return Derived(made, members, trouble=tuple(trouble))

    def _certificates(picture: Picture) -> tuple[Certificates, tuple[str, ...]]:
        return table_certificates(picture.deployments.values(), picture.certificates, picture.orders, unseal, acme_port)

    return Plane("routes", derive, proxy.apply, concerned=_served)


def _served(routes: RouteTable) -> list[str]:
    return sorted({route.owner for listener in routes.listeners for route in listener.routes})


def _pieces(deployment: Deployment, group: Mapping[str, Seen] | None, home: Home | None) -> tuple[Piece, ...]:
    seen = list(group.values()) if group else []
    return pieces(deployment, seen, home.listen if home else ONLY_HERE, admission(deployment, seen))


def names_plane(node: Node, server: NameServer, upstreams: Callable[[], tuple[str, ...]]) -> Plane[Zone]:
    homes, kept = Homes(node), Kept[Names]()

    def derive(picture: Picture) -> Derived[Zone]:
        here = homes.of(picture)
        kept.only(picture.deployments)
        known = {}
        for name, one in picture.deployments.items():
            group, home = picture.instances.get(name), here.get(name)
            known[name] = kept.get(name, (one, group, home), lambda: _names(one, group, home))  # noqa: B023 - at once
        doors = {n: Door(home.listen, (*home.subnet.blocks, *home.subnet.blocks6)) for n, home in here.items()}
        return Derived(zone(known, doors, upstreams=upstreams(), revision=picture.revision), ready_ids(picture))

    def made_of(picture: Picture) -> Parts:
        return (*upstreams(), *of_deployments(picture))

    def concerned(made: Zone) -> list[str]:
        return [view.network for view in made.views]

    return Plane("names", derive, server.apply, made_of=made_of, concerned=concerned, lasting=TTL)


def _names(deployment: Deployment, group: Mapping[str, Seen] | None, home: Home | None) -> Names:
    seen = list(group.values()) if group else []
    return names(deployment, seen, lambda four: address6(home.subnet, four) if home else None, held(seen))
