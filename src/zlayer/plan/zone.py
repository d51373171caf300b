"""From what is wanted and what is ready to the names each deployment may ask for.

`service_names` looks at one service, `joined` puts a deployment's together, and `zone` the views of all. A service
that is there without a ready replica has its name, and no address: clients are told "not now" instead of "no such
name".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from zlayer.model.instance import Deployment
from zlayer.model.zone import View, Zone
from zlayer.plan.seen import Seen

DOMAIN = "service.local"
TTL = 1
"""Seconds an answer may be kept. A replica that leaves waits for it, so an update is no slower than it must be."""
Address6 = Callable[[str], str | None]
"""The IPv6 address that goes with a replica's IPv4 address, None without."""


@dataclass(frozen=True, slots=True)
class Names:
    """Of one deployment: `service` and `slot.service`, each with its addresses; and whom its services may reach."""

    deployment: str
    names: Mapping[str, tuple[str, ...]]
    reach: tuple[str, ...] = ()


Named = Mapping[str, tuple[str, ...]]
"""Names, without the domain, each with its addresses."""


def service_names(
    service: str, replicas: Iterable[Seen], address6: Address6, held: Collection[str] = frozenset()
) -> Named:
    """The names of one service, whose replicas these are. Only ready, wanted ones are answered, and none `held`."""
    ready = [one for one in replicas if one.ready and one.live and one.id not in held]
    found: dict[str, tuple[str, ...]] = {service: ()}
    for one in sorted(ready, key=lambda one: (one.instance.slot, one.id)):
        if addresses := _addresses(one, address6):
            slot = f"{one.instance.slot}.{service}"
            found[service] += addresses
            found[slot] = found.get(slot, ()) + addresses
    return found


def joined(deployment: Deployment, parts: Iterable[Named]) -> Names:
    """The names of all its services."""
    found: dict[str, tuple[str, ...]] = {}
    for part in parts:
        found.update(part)
    reach = {name for service in deployment.services.values() for name in service.reach}
    return Names(deployment.name, found, tuple(sorted(reach)))


def _addresses(one: Seen, address6: Address6) -> tuple[str, ...]:
    four = one.status.address if one.status is not None else None
    if not four:
        return ()
    six = address6(four)
    return (four, six) if six else (four,)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a deployment's network is asked for names on this node, and from where: its blocks."""

    listen: tuple[str, ...]
    clients: tuple[str, ...] = ()


def zone(
    everyone: Mapping[str, Names],
    doors: Mapping[str, Door],
    *,
    upstreams: tuple[str, ...] = (),
    revision: int = 0,
) -> Zone:
    """A deployment without a network has no door here, and no view."""
    views = []
    for deployment, door in sorted(doors.items()):
        own = everyone.get(deployment)
        known = {f"{name}.{DOMAIN}": found for name, found in own.names.items()} if own is not None else {}
        for other in own.reach if own is not None else ():
            if other in everyone and other != deployment:
                known |= {f"{name}.{other}.{DOMAIN}": found for name, found in everyone[other].names.items()}
        views.append(View(deployment, door.listen, known, door.clients))
    return Zone(revision=revision, domain=DOMAIN, ttl=TTL, upstreams=upstreams, views=tuple(views))
