"""Host ports for mappings that name none: chosen once, kept as long as the service has the mapping."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from zlayer.model.endpoint import PublishedPort
from zlayer.model.instance import Deployment
from zlayer.model.network import Ports

FIRST, LAST = 20000, 29999
"""Below what kernels take for outgoing connections (32768 and up), above what services are usually given."""


def mapping_key(deployment: str, service: str, port: PublishedPort) -> str:
    return f"{deployment}/{service}/{port.container_port}/{port.protocol}/{port.host_ip}"


def host_port(deployment: str, service: str, port: PublishedPort, given: Mapping[str, int]) -> int | None:
    """The port of the node, None while none was chosen."""
    return port.host_port or given.get(mapping_key(deployment, service, port))


def assign(held: Ports, deployments: Iterable[Deployment], present: Iterable[tuple[str, str]]) -> Ports:
    """`held` as it should be. `present` are the deployments and services with an instance on the node."""
    here = set(present)
    wanted: dict[str, PublishedPort] = {}
    taken: set[tuple[str, int]] = set()
    for deployment in deployments:
        for name, service in deployment.services.items():
            for port in service.ports:
                if port.host_port:
                    taken.add((port.protocol, port.host_port))
                elif (key := mapping_key(deployment.name, name, port)) in held.given or (deployment.name, name) in here:
                    wanted[key] = port
    given = {key: number for key, number in held.given.items() if key in wanted}
    taken |= {(wanted[key].protocol, number) for key, number in given.items()}
    for key in sorted(wanted.keys() - given.keys()):
        number = _free(key, wanted[key].protocol, taken)
        if number is not None:
            given[key] = number
            taken.add((wanted[key].protocol, number))
    return held.model_copy(update={"given": given})


def _free(key: str, protocol: str, taken: set[tuple[str, int]]) -> int | None:
    """By the mapping's name, so that one that is made again tends to get its old port back. None: all are taken."""
    count = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % count
    numbers = (FIRST + (start + offset) % count for offset in range(count))
    return next((number for number in numbers if (protocol, number) not in taken), None)
