"""Services that share the network of another (`network_mode: container:ID`)."""

from __future__ import annotations

from zlayer.spec.model import AdaptiveScale, DeploymentSpec, FixedScale, ServiceSpec
from zlayer.spec.network import INSTANCE, SHARED, shares
from zlayer.spec.nodes import Path
from zlayer.spec.report import Found


def check_sharing(spec: DeploymentSpec, declared: frozenset[str], found: Found) -> None:
    """Replica n shares the network of replica n: so there must be one, and no port may be listened on twice."""
    guests: dict[str, list[str]] = {}
    for name, service in spec.services.items():
        home = shares(service.network_mode)
        place: Path = ("services", name, "network_mode")
        if not home:
            continue
        if home in spec.services:
            _home(name, service, home, spec.services[home], found)
            guests.setdefault(home, []).append(name)
        elif home not in declared:
            _instance(name, service, home, declared, found)
        if home == name:
            found.add(place, f"{name} shares its own network", kind="DependencyCycle")
    for home, names in guests.items():
        _ports(home, names, spec, found)


def replicas(service: ServiceSpec) -> int:
    """How many it starts with."""
    scale = service.scale
    return scale.replicas if isinstance(scale, FixedScale) else getattr(scale, "min", 1)


def scale_key(service: ServiceSpec) -> str:
    return "min" if isinstance(service.scale, AdaptiveScale) else "replicas"


def _home(name: str, service: ServiceSpec, home: str, other: ServiceSpec, found: Found) -> None:
    place: Path = ("services", name, "network_mode")
    if home != name and other.network_mode != "bridge":
        message = f"{home!r} has no network of its own to share: it has network_mode: {other.network_mode}"
        found.add(place, message, suggestion=other.network_mode, kind="Conflict")
    elif replicas(service) > replicas(other):
        counts = f"{replicas(service)} here, {replicas(other)} there"
        message = f"replica n shares the network of replica n of {home!r}, so there cannot be more: {counts}"
        found.add(("services", name, "scale", scale_key(service)), message, kind="Conflict")


def _instance(name: str, service: ServiceSpec, home: str, declared: frozenset[str], found: Found) -> None:
    place: Path = ("services", name, "network_mode")
    if not INSTANCE.fullmatch(home):
        near = found.nearest(home, declared - {name})
        message = f"{home!r} is neither a service of this file nor the id of an instance"
        found.add(place, message, suggestion=SHARED + near if near else "", kind="UnknownDependency")
    elif service.endpoints and replicas(service) > 1:
        message = (
            f"{replicas(service)} replicas in one network would all listen on port {service.endpoints[0].target_port}"
        )
        found.add(("services", name, "scale", scale_key(service)), message, suggestion="1", kind="PortClash")


def _ports(home: str, names: list[str], spec: DeploymentSpec, found: Found) -> None:
    """What listens in one network: the ports of containers, not those of the proxy."""
    taken: dict[tuple[int, str], str] = {}
    for name in (home, *names):
        for endpoint in spec.services[name].endpoints:
            key = (endpoint.target_port, endpoint.transport)
            if (other := taken.setdefault(key, name)) != name:
                message = f"port {key[0]}/{key[1]} of the network of {home!r} is used by {other!r} too"
                found.add(("services", name, "endpoints"), message, kind="PortClash")
