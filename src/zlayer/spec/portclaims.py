"""Two services of a file that want one port."""

from __future__ import annotations

from zlayer.model.claims import Claim, Ground, claims, explain
from zlayer.model.container import ContainerSpec
from zlayer.model.instance import Service
from zlayer.spec import compile_traffic
from zlayer.spec.model import DeploymentSpec, ServiceSpec
from zlayer.spec.nodes import Path
from zlayer.spec.report import Found


def check_ports(spec: DeploymentSpec, found: Found) -> None:
    """Told at the one that is written second; the message names the first, and its line."""
    ground = Ground()
    for name, service in spec.services.items():
        for claim in claims(spec.deployment, name, _wanted(service)):
            if rival := ground.take(claim):
                line = found.source.locate(_place(rival, spec, found))[0]
                owner = f"{rival.service!r} (line {line})" if line else repr(rival.service)
                found.add(_place(claim, spec, found), explain(claim, rival, owner), kind="PortClash")


def _wanted(spec: ServiceSpec) -> Service:
    """As far as ports go."""
    return Service(
        container=ContainerSpec(image=spec.image.name, network_mode=spec.network_mode),
        endpoints=tuple(compile_traffic.endpoint(e, lambda text, _: text) for e in spec.endpoints),
        ports=tuple(compile_traffic.port(p) for p in spec.port_mappings),
    )


def _place(claim: Claim, spec: DeploymentSpec, found: Found) -> Path:
    """The entry's; its list's where entries with faults of their own are left out, so that numbers differ."""
    key, number = claim.place
    base: Path = ("services", claim.service, key)
    read = len(getattr(spec.services[claim.service], key))
    return (*base, number) if read == sum(1 for _ in found.source.items(base)) else base
