"""The top of the file, and what services must be to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zlayer.spec.cycles import find_cycle
from zlayer.spec.model import AdaptiveScale, DeploymentSpec, FixedScale, ServiceSpec, TcpCheckSpec
from zlayer.spec.nodes import Node, Path, Table
from zlayer.spec.records import Field, MapOf, Record
from zlayer.spec.report import At, Found
from zlayer.spec.service import SERVICE
from zlayer.spec.shapes import Choice, Flag, Json, Number, Shape, Text, scalar
from zlayer.spec.syntax import DEPLOYMENT_PATTERN, NAME_PATTERN, check_deployment, check_name

_TUNNEL_PORT = Number(low=1, high=65535, fault="InvalidTunnelPort")
_TUNNELS: Shape[Any] = MapOf(
    Record(
        dict,
        {
            "from": Field(Text(check=check_name), required=True),
            "to": Field(Text(check=check_name), required=True),
            "local_port": Field(_TUNNEL_PORT, required=True),
            "remote_port": Field(_TUNNEL_PORT, required=True),
            "protocol": Field(Choice("", ("tcp", "udp"))),
            "expose": Field(Choice("", ("internal", "public"))),
        },
    ),
    check_name,
)
_API: Shape[Any] = Record(
    dict,
    {"enabled": Field(Flag()), "bind": Field(Text()), "jwt_secret": Field(Text()), "swagger": Field(Flag())},
)
LATER: dict[str, Shape[Any] | None] = {"externals": None, "tunnels": _TUNNELS, "api": _API}


class Version:
    """The text `v1`, and nothing else."""

    def read(self, node: Node, at: At) -> str | None:
        found = scalar(node, at, "v1")
        if found is None:
            return None
        if found.value == "v1":
            return "v1"
        message = f"version must be v1, not {found.text[:40]}"
        at.refuse(node, message, suggestion="v1", kind="InvalidVersion")
        return None

    def schema(self) -> Json:
        return {"const": "v1", "description": "Always v1."}


DEPLOYMENT = Record(
    DeploymentSpec,
    {
        "version": Field(Version(), required=True, instead="v1"),
        "deployment": Field(
            Text(
                "3-63 letters, digits or '-'.", check_deployment, DEPLOYMENT_PATTERN, expected="a name",
                fault="EmptyDeploymentName", empty=False,
            ),
            required=True,
            instead="unnamed",
        ),
        "services": Field(MapOf(SERVICE, check_name, "Services by name.", NAME_PATTERN, limit=1000)),
    },
    "A ZLayer deployment, version 1.",
    later=LATER,
    synonyms={"name": "deployment", "apiVersion": "version", "service": "services"},
    expected="a map with version, deployment and services",
)  # fmt: skip


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
        self._same_names()
        self._cycle()
        self._host_ports()

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
        graph = {n: [d.service for d in s.depends if d.service != n] for n, s in self.spec.services.items()}
        for cycle in find_cycle(graph):
            path: Path = ("services", cycle[0], "depends")
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
        scale = service.scale
        count = scale.replicas if isinstance(scale, FixedScale) else getattr(scale, "min", 1)
        if service.network_mode != "host" or not service.endpoints or count <= 1:
            return
        which = "min" if isinstance(scale, AdaptiveScale) else "replicas"
        port = service.endpoints[0].port
        message = f"{count} replicas on the host's network would all listen on port {port}"
        self.found.add(("services", name, "scale", which), message, suggestion="1", kind="PortClash")

    def _host_ports(self) -> None:
        taken: dict[tuple[int, str], str] = {}
        for name, service in self.spec.services.items():
            for endpoint in service.endpoints if service.network_mode == "host" else ():
                key = (endpoint.port, endpoint.transport)
                if taken.setdefault(key, name) == name:
                    continue
                message = f"port {key[0]}/{key[1]} of the host's network is used by {taken[key]!r} too"
                self.found.add(("services", name, "endpoints"), message, kind="PortClash")

    def _same_names(self) -> None:
        seen: dict[str, str] = {}
        for name in self.spec.services:
            if seen.setdefault(name.lower(), name) != name:
                message = f"{name!r} and {seen[name.lower()]!r} are one name in DNS, which knows no case"
                self.found.add(("services", name), message, kind="Conflict")
