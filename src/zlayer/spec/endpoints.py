"""`endpoints`, `port_mappings` and `expose`: the ports of a service."""

from __future__ import annotations

from typing import Any

from zlayer.spec.model import EndpointSpec
from zlayer.spec.nodes import Listing, Node, Scalar, Table
from zlayer.spec.records import Field, ListOf, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Json, Number, Text, described
from zlayer.spec.syntax import EXPOSE_PATTERN, NAME_PATTERN, check_expose, check_ip, check_name

PORT = Number("1-65535", 1, 65535, fault="InvalidPort")
TARGET_PORT = Number("Port in the container. Must equal `port` until the proxy arrives.", 1, 65535, fault="InvalidPort")


class Expose:
    """`internal` or `public`; true and false mean the same two (guide form)."""

    about = "Who may reach it: `internal` (or false), the default. `public` (or true) is not supported yet."

    def read(self, node: Node, at: At) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            if node.value:
                at.not_yet(node, "expose: public")
            return None if node.value else "internal"
        return Choice(self.about, ("internal",), ("public",)).read(node, at)

    def schema(self) -> Json:
        return described({"enum": ["internal", False]}, self.about)


def _endpoint(*, target_port: int | None = None, **values: object) -> EndpointSpec:
    """`target_port` equal to `port` says nothing more; others were refused by `_check_target`."""
    return EndpointSpec.model_validate(values)


def _check_target(node: Node, at: At) -> None:
    """Told for entries with other faults too, so it looks at what is written."""
    port, target = (node.get("port"), node.get("target_port")) if isinstance(node, Table) else (None, None)
    if isinstance(port, Scalar) and isinstance(target, Scalar) and target.value != port.value:
        (at / "target_port").not_yet(target, f"target_port other than port ({port.text})")


def _check_all(items: tuple[tuple[int, EndpointSpec], ...], found: Listing, at: At) -> None:
    for i, node in enumerate(found.items):
        _check_target(node, at / i)
    names: dict[str, int] = {}
    ports: dict[tuple[int, str], str] = {}
    for i, item in items:
        node = found.items[i]
        if item.name in names:
            where = f"endpoint {names[item.name] + 1} of the service has it too"
            (at / i).refuse(node, f"the endpoint name {item.name!r} is used twice: {where}", kind="DuplicateEndpoint")
        key = (item.port, item.transport)
        if key in ports:
            message = f"port {item.port}/{item.transport} is used twice: by {ports[key]!r} and {item.name!r}"
            (at / i).refuse(node, message, kind="PortClash")
        names.setdefault(item.name, i)
        ports.setdefault(key, item.name)


_ENDPOINT: Record[EndpointSpec] = Record(
    _endpoint,
    {
        "name": Field(Text("Unique within the service.", check_name, NAME_PATTERN), required=True),
        "protocol": Field(Choice("How it is spoken.", ("http", "tcp", "udp", "websocket"), ("https",)), required=True),
        "port": Field(PORT, required=True),
        "target_port": Field(TARGET_PORT),
        "expose": Field(Expose()),
    },
    "A port the container answers on.",
    later={"path": None, "host": None, "stream": None, "target_role": None, "tunnel": None},
    synonyms={"container_port": "port", "proto": "protocol", "hostname": "host", "public": "expose"},
)

ENDPOINTS: ListOf[EndpointSpec] = ListOf(
    _ENDPOINT,
    "Ports the container answers on, reachable at its own address.",
    _check_all,
)

PORT_MAPPINGS: ListOf[dict[str, Any]] = ListOf(
    Record(
        dict,
        {
            "host_port": Field(Number("0 picks a free one.", 0, 65535, fault="InvalidPort")),
            "container_port": Field(PORT, required=True),
            "protocol": Field(Choice("", ("tcp", "udp"))),
            "host_ip": Field(Text("", check_ip)),
        },
    )
)

EXPOSE = ListOf(
    Text("`3000` or `8080/tcp`", check_expose, EXPOSE_PATTERN, loose=True),
    "Documentation only: ports the image listens on.",
)
