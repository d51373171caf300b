"""From what controllers have written to what one node's kernel is told: networks, who may cross, ports forwarded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from zlayer.model.addressing import gateway
from zlayer.model.fabric import Fabric, Forward, Reach, Subnet, Target
from zlayer.model.instance import Deployment, Node, Service
from zlayer.model.network import Network, subnet_of
from zlayer.plan.ipam import usable
from zlayer.plan.ports import host_port
from zlayer.plan.seen import Seen, grouped

EVERY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that a fabric is derived from. `instances` by deployment; `given` are the ports chosen for this node.

    `held` instances get no traffic though they are ready.
    """

    node: Node
    networks: Iterable[Network] = ()
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    instances: Mapping[str, Sequence[Seen]] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Woven:
    """`members` are the instances that forwards go to; `trouble` is whose and what: a port two services want."""

    fabric: Fabric
    members: frozenset[str] = frozenset()
    trouble: tuple[tuple[str, str], ...] = ()


def concerns(deployment: Deployment) -> bool:
    """Whether any of it is more to the kernel than its network: ports it forwards, others it may reach."""
    services = deployment.services.values()
    return any(s.reach or s.ports or any(e.transport == "udp" for e in s.endpoints) for s in services)


def weave(holdings: Holdings, revision: int = 0) -> Woven:
    """Deterministic: equal holdings make equal fabrics. Of two that want one port, the older deployment has it."""
    node = holdings.node
    subnets = {one.deployment: subnet_of(one, node) for one in holdings.networks if usable(one, node)}
    reaches: list[Reach] = []
    forwards: dict[tuple[str, str, int], tuple[Forward, str]] = {}
    trouble: list[tuple[str, str]] = []
    for deployment in sorted(holdings.deployments.values(), key=lambda one: (one.created_at, one.name)):
        here = grouped(s for s in holdings.instances.get(deployment.name, ()) if s.instance.node == node.id)
        for name, service in deployment.services.items():
            seen = sorted(here.get(name, ()), key=lambda s: s.id)
            reaches += [Reach(_address(s), target) for s in seen for target in service.reach if _may_speak(s)]
            if not seen or service.stopped or deployment.desired != "running":
                continue
            owner = f"{deployment.name}/{name}"
            ready = [s for s in seen if s.ready and s.live and s.id not in holdings.held and _address(s)]
            for forward in _forwards(owner, service, ready, holdings.given, subnets.get(deployment.name)):
                key = (forward.transport, forward.address, forward.port)
                if key in forwards:
                    other = forwards[key][1]
                    trouble.append((owner, f"{forward.transport} port {forward.port} is already {other}'s"))
                else:
                    forwards[key] = (forward, owner)
    made = [forwards[key][0] for key in sorted(forwards)]
    fabric = Fabric(
        revision,
        tuple(sorted(subnets.values(), key=lambda one: one.number)),
        tuple(sorted(set(reaches), key=lambda one: (one.source, one.target))),
        tuple(made),
    )
    return Woven(fabric, frozenset(target.id for forward in made for target in forward.targets), tuple(trouble))


def _may_speak(one: Seen) -> bool:
    return not one.ended and bool(_address(one))


def _address(one: Seen) -> str:
    return one.instance.address or ""


def _forwards(
    owner: str, service: Service, ready: Sequence[Seen], given: Mapping[str, int], home: Subnet | None
) -> Iterator[Forward]:
    """A service's published ports, then its udp endpoints; internal ones are its own network's only."""

    def targets(port: int) -> tuple[Target, ...]:
        return tuple(Target(one.id, _address(one), port) for one in ready)

    deployment, _, name = owner.partition("/")
    for port in service.ports:
        number = host_port(deployment, name, port, given)
        if number is not None:
            address = "" if port.host_ip in EVERY_ADDRESS else port.host_ip
            yield Forward(port.protocol, number, address, targets(port.container_port), owner=owner)
    for endpoint in service.endpoints:
        if endpoint.transport != "udp" or not (endpoint.public or home):
            continue
        address = "" if endpoint.public or home is None else gateway(home.blocks[0])
        yield Forward("udp", endpoint.port, address, targets(endpoint.target_port), endpoint.sticky, owner)
