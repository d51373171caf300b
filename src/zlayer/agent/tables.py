"""The proxy's and the name server's parts of a node's traffic, as planes: whole tables, derived from a picture.

Groups of a picture are new objects exactly when something in them changed, so "the same objects" means "the same
answer": a change in one of 200 deployments costs a look at that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from zlayer.agent.planes import Derived, Parts, Plane, Trouble
from zlayer.model.addressing import address6, gateway
from zlayer.model.fabric import Subnet
from zlayer.model.instance import Deployment, Node, Service
from zlayer.model.network import subnet_of
from zlayer.model.routes import RouteTable
from zlayer.model.secret import Secret
from zlayer.model.seen import Seen
from zlayer.model.zone import Zone
from zlayer.network.dns.contract import NameServer
from zlayer.plan.admission import admission, held
from zlayer.plan.ipam import usable
from zlayer.plan.kept import Kept, PerService
from zlayer.plan.needs import table_certificates
from zlayer.plan.redrawn import Tables
from zlayer.plan.routes import ONLY_HERE, Certificates, Piece, pieces, service_pieces, serving
from zlayer.plan.zone import TTL, Door, Named, Names, joined, service_names, zone
from zlayer.proxy.contract import Proxy
from zlayer.store.view import Picture

Unseal = Callable[[str, str], Secret]


@dataclass(frozen=True, slots=True)
class Home:
    """What a deployment's network is on this node. `listen` are its gateways: the node, as its containers see it."""

    subnet: Subnet
    listen: tuple[str, ...]


Group = Mapping[str, Seen]


class Serving:
    """Of each deployment the instances that are ready: the same object for as long as they, and all that tables say of
    them, are the same. Most of what happens to instances (they are prepared, they end) changes no table."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Group, Group]] = {}

    def of(self, picture: Picture) -> dict[str, Group]:
        found = {}
        for name, deployment in picture.deployments.items():
            if (group := picture.instances.get(name)) is not None:
                # the weights of a canary depend on more than who is ready
                found[name] = group if deployment.rollout.canaries else self._ready(name, group)
        self._known = {name: known for name, known in self._known.items() if name in found}
        return found

    def _ready(self, name: str, group: Group) -> Group:
        known = self._known.get(name)
        if known is not None and known[0] is group:
            return known[1]
        ready: Group = {key: one for key, one in group.items() if one.ready}
        if known is not None and _alike(known[1], ready):
            ready = known[1]
        self._known[name] = (group, ready)
        return ready


def _alike(ones: Group, others: Group) -> bool:
    return ones.keys() == others.keys() and all(
        one is (other := others[key]) or (one.instance is other.instance and _address(one) == _address(other))
        for key, one in ones.items()
    )


def _address(one: Seen) -> str | None:
    return one.status.address if one.status is not None else None


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


def ready_ids(groups: Iterable[Group]) -> frozenset[str]:
    """Instances that any table may send somebody to."""
    return frozenset(key for group in groups for key, one in group.items() if one.ready and one.live)


def routes_plane(
    node: Node, proxy: Proxy, unseal: Unseal, acme_port: int, tls_port: int | None = None
) -> Plane[RouteTable]:
    """`acme_port` and `tls_port` as for `plan.needs.table_certificates`."""
    homes, ready = Homes(node), Serving()
    kept, chosen = Kept[tuple[Piece, ...]](), Kept[tuple[Certificates, tuple[str, ...]]]()
    services: dict[str, PerService[tuple[Piece, ...]]] = {}
    tables = Tables()

    def derive(picture: Picture) -> Derived[RouteTable]:
        here, groups = homes.of(picture), ready.of(picture)
        wanted = {
            name: one
            for name, one in picture.deployments.items()
            if one.desired == "running" and any(service.endpoints for service in one.services.values())
        }
        kept.only(wanted)
        for gone in services.keys() - wanted.keys():
            del services[gone]
        parts = []
        for name, one in wanted.items():
            group, home = groups.get(name), here.get(name)
            mine = services.setdefault(name, PerService())
            parts.append(kept.get(name, (one, group, home), lambda: _pieces(one, group, home, mine)))  # noqa: B023
        certificates, faults = chosen.get(
            "", (picture.deployments, picture.certificates, picture.orders), lambda: _certificates(picture)
        )
        made, clashes = tables.of(parts, certificates, revision=picture.revision)
        members = frozenset(server.id for backend in made.backends for server in backend.servers)
        trouble = [Trouble(why, owner) for owner, why in clashes] + [Trouble(fault) for fault in faults]
        return Derived(made, members, trouble=tuple(trouble))

    def _certificates(picture: Picture) -> tuple[Certificates, tuple[str, ...]]:
        return table_certificates(
            picture.deployments.values(), picture.certificates, picture.orders, unseal, acme_port, tls_port
        )

    def made_of(picture: Picture) -> Parts:
        return (*_own(picture), *ready.of(picture).values())

    return Plane("routes", derive, proxy.apply, made_of=made_of, concerned=_served)


def _own(picture: Picture) -> Parts:
    return (picture.deployments, picture.networks, picture.certificates, picture.orders)


def _served(routes: RouteTable) -> list[str]:
    return sorted({route.owner for listener in routes.listeners for route in listener.routes})


def _pieces(
    deployment: Deployment, group: Group | None, home: Home | None, kept: PerService[tuple[Piece, ...]]
) -> tuple[Piece, ...]:
    """`plan.routes.pieces`, a service at a time: those of which nothing has changed are as they were."""
    group = group or {}
    listen, admitted = home.listen if home else ONLY_HERE, admission(deployment, list(group.values()))
    if admitted.weights:
        return pieces(deployment, group.values(), listen, admitted)

    def make(name: str, service: Service, replicas: Sequence[Seen]) -> tuple[Piece, ...]:
        ready = serving(replicas, admitted.held).get(name, ())
        return service_pieces(f"{deployment.name}/{name}", service, ready, listen)

    made = kept.get(deployment.services, group, (home,), make)
    return tuple(piece for each in made.values() for piece in each)


def names_plane(node: Node, server: NameServer, upstreams: Callable[[], tuple[str, ...]]) -> Plane[Zone]:
    homes, ready, kept = Homes(node), Serving(), Kept[Names]()
    services: dict[str, PerService[Named]] = {}

    def derive(picture: Picture) -> Derived[Zone]:
        here, groups = homes.of(picture), ready.of(picture)
        kept.only(picture.deployments)
        for gone in services.keys() - picture.deployments.keys():
            del services[gone]
        known = {}
        for name, one in picture.deployments.items():
            group, home = groups.get(name), here.get(name)
            mine = services.setdefault(name, PerService())
            known[name] = kept.get(name, (one, group, home), lambda: _names(one, group, home, mine))  # noqa: B023
        doors = {n: Door(home.listen, (*home.subnet.blocks, *home.subnet.blocks6)) for n, home in here.items()}
        return Derived(zone(known, doors, upstreams=upstreams(), revision=picture.revision), ready_ids(groups.values()))

    def made_of(picture: Picture) -> Parts:
        return (*upstreams(), *_own(picture), *ready.of(picture).values())

    def concerned(made: Zone) -> list[str]:
        return [view.network for view in made.views]

    return Plane("names", derive, server.apply, made_of=made_of, concerned=concerned, lasting=TTL)


def _names(deployment: Deployment, group: Group | None, home: Home | None, kept: PerService[Named]) -> Names:
    def six(four: str) -> str | None:
        return address6(home.subnet, four) if home else None

    def make(name: str, _: Service, replicas: Sequence[Seen]) -> Named:
        return service_names(name, replicas, six, held(replicas))

    return joined(deployment, kept.get(deployment.services, group or {}, (home,), make).values())
