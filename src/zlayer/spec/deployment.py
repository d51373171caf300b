"""The top of the file."""

from __future__ import annotations

from typing import Any

from zlayer.spec.model import DeploymentSpec
from zlayer.spec.nodes import Node
from zlayer.spec.records import Field, MapOf, Record
from zlayer.spec.report import At
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
