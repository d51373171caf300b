"""What the services of a file must be to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zlayer.spec.cycles import find_cycle
from zlayer.spec.model import DeploymentSpec, ServiceSpec, TcpCheckSpec
from zlayer.spec.network import shares
from zlayer.spec.nodes import Path, Table
from zlayer.spec.portclaims import check_ports
from zlayer.spec.report import Found
from zlayer.spec.sharing import check_sharing, replicas, scale_key


@dataclass(frozen=True, slots=True)
class Relations:
    """Faults between the parts of a spec, told at the places they were written."""

    spec: DeploymentSpec
    declared: frozenset[str]
    """Every service named in the file, those with faults of their own included."""
    found: Found

    def check(self) -> None:
        for name, service in self.spec.services.items():
            self._depends(name, service)
            self._first_endpoint(name, service)
            self._host_replicas(name, service)
            self._reach(name, service)
        self._same_names()
        self._cycle()
        check_ports(self.spec, self.found)
        check_sharing(self.spec, self.declared, self.found)

    def _depends(self, name: str, service: ServiceSpec) -> None:
        seen: set[str] = set()
        for path, wanted in self._wants(name, service):
            if wanted == name:
                self.found.add(path, f"{name} depends on itself", kind="DependencyCycle")
            elif wanted not in self.declared:
                near = self.found.nearest(wanted, self.declared - {name})
                message = f"the service {wanted!r} does not exist"
                self.found.add(path, message, suggestion=near, kind="UnknownDependency")
            elif wanted in seen:
                self.found.add(path, f"{name} depends on {wanted!r} twice", kind="Conflict")
            seen.add(wanted)

    def _wants(self, name: str, service: ServiceSpec) -> Iterator[tuple[Path, str]]:
        """Each dependency with its place; entries with faults of their own are not in `service.depends`."""
        base: Path = ("services", name, "depends")
        wanted = [d.service for d in service.depends]
        for path, node in self.found.source.items(base):
            written = node.get("service") if isinstance(node, Table) else None
            if wanted and getattr(written, "text", None) == wanted[0]:
                yield (*path, "service"), wanted.pop(0)

    def _cycle(self) -> None:
        graph = {n: [w for w in _waits_for(s) if w != n] for n, s in self.spec.services.items()}
        for cycle in find_cycle(graph):
            path: Path = ("services", cycle[0], "depends" if self.spec.services[cycle[0]].depends else "network_mode")
            round_trip = " -> ".join((*cycle, cycle[0]))
            self.found.add(path, f"these services wait for each other: {round_trip}", kind="DependencyCycle")

    def _first_endpoint(self, name: str, service: ServiceSpec) -> None:
        health = service.health
        if health is None or not isinstance(health.check, TcpCheckSpec) or health.check.port:
            return
        if not service.endpoints and any(self.found.source.items(("services", name, "endpoints"))):
            return  # there are some, each with a fault of its own
        if all(e.protocol == "udp" for e in service.endpoints):
            message = "a tcp check without a port asks the first endpoint, and this service has none that is not UDP"
            self.found.add(("services", name, "health"), message, kind="InvalidPort")

    def _host_replicas(self, name: str, service: ServiceSpec) -> None:
        count = replicas(service)
        if service.network_mode != "host" or not service.endpoints or count <= 1:
            return
        port = service.endpoints[0].target_port
        message = f"{count} replicas on the host's network would all listen on port {port}"
        self.found.add(("services", name, "scale", scale_key(service)), message, suggestion="1", kind="PortClash")

    def _reach(self, name: str, service: ServiceSpec) -> None:
        for i, wanted in enumerate(service.network.reach):
            if wanted == self.spec.deployment:
                message = "the services of one deployment reach each other anyway"
                self.found.add(("services", name, "network", "reach", i), message, kind="Conflict")

    def _same_names(self) -> None:
        seen: dict[str, str] = {}
        for name in self.spec.services:
            if seen.setdefault(name.lower(), name) != name:
                message = f"{name!r} and {seen[name.lower()]!r} are one name in DNS, which knows no case"
                self.found.add(("services", name), message, kind="Conflict")


def _waits_for(service: ServiceSpec) -> list[str]:
    home = shares(service.network_mode)
    return [*(d.service for d in service.depends), *([home] if home else ())]
