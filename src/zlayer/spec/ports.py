"""`port_mappings`: ports of the node that lead straight to a container, in the long form and in the one of compose."""

from __future__ import annotations

import re

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import Node, Scalar, shorten
from zlayer.spec.records import Field, ListOf, Record
from zlayer.spec.report import UNSUPPORTED, At, refused
from zlayer.spec.shapes import Choice, Json, Number, Text
from zlayer.spec.syntax import check_ip
from zlayer.spec.traffic import PortSpec

EVERYWHERE = ("0.0.0.0", "::")
SHORT_PATTERN = r"^((\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(([0-9]{0,5}):)?[0-9]{1,5}(/([tT][cC][pP]|[uU][dD][pP]))?$"
_EXAMPLE = "a port such as 8080:80, 127.0.0.1:8080:80/udp or 80"


def check_host_ip(text: str) -> str:
    if "%" in text:
        raise refused(f"{shorten(text)!r} names a link: give an address without '%'", kind="InvalidAddress")
    return check_ip(text)


LONG = Record(
    PortSpec,
    {
        "host_port": Field(Number("0, the default: the node picks a free one.", 0, 65535, fault="InvalidPort")),
        "container_port": Field(Number("In the container.", 1, 65535, fault="InvalidPort"), required=True),
        "protocol": Field(Choice("Default tcp.", ("tcp", "udp"), synonyms={"TCP": "tcp", "UDP": "udp"})),
        "host_ip": Field(Text("Address of the node. Default 0.0.0.0: every one.", check_host_ip)),
    },
    "A port of the node that leads to the container.",
    synonyms={
        "target": "container_port", "published": "host_port", "target_port": "container_port", "port": "host_port",
        "hostPort": "host_port", "containerPort": "container_port", "hostIP": "host_ip", "proto": "protocol",
        "ip": "host_ip", "external": "host_port", "internal": "container_port",
    },
    expected=f"a map such as {{host_port: 8080, container_port: 80}}, or {_EXAMPLE}",
)  # fmt: skip


def parse_mapping(text: str) -> PortSpec:
    """`[[IP:]HOST_PORT:]PORT[/tcp|udp]`, as compose writes it; an IPv6 address stands in brackets."""
    body, slash, protocol = text.strip().partition("/")
    if slash and protocol.lower() not in ("tcp", "udp"):
        raise _bad(text, f"the protocol is tcp or udp, not {shorten(protocol)!r}", f"{body}/tcp")
    ip, host, port = _parts(body, text)
    if re.fullmatch(r"[0-9]+-[0-9]+", port) or re.fullmatch(r"[0-9]+-[0-9]+", host):
        raise refused(f"not supported yet: a range of ports ({shorten(text)}): write them one by one", kind=UNSUPPORTED)
    return PortSpec(
        host_port=_port(host or "0", text, 0),
        container_port=_port(port, text, 1),
        protocol="udp" if protocol.lower() == "udp" else "tcp",
        host_ip=check_host_ip(ip) if ip else "0.0.0.0",
    )


def _parts(body: str, text: str) -> tuple[str, str, str]:
    if body.startswith("["):
        ip, closed, rest = body[1:].partition("]:")
        ports = rest.split(":")
        if not closed or len(ports) > 2:
            raise _bad(text, f"expected {_EXAMPLE}")
        if len(ports) == 1:
            raise _bad(text, "an address stands before two ports", f"[{ip}]::{rest}")
        return ip, ports[0], ports[1]
    parts = body.split(":")
    if len(parts) > 3:
        raise _bad(text, "an IPv6 address stands in brackets", f"[{':'.join(parts[:-2])}]:{parts[-2]}:{parts[-1]}")
    if len(parts) == 2 and "." in parts[0]:
        raise _bad(text, "an address stands before two ports", f"{parts[0]}::{parts[1]}")
    filled = ["", "", *parts][-3:]
    return filled[0], filled[1], filled[2]


def _port(text: str, whole: str, low: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise _bad(whole, f"expected {_EXAMPLE}")
    if len(text) > 5 or not low <= int(text) <= 65535:
        raise _bad(whole, f"ports are {low} to 65535")
    return int(text)


def _bad(text: str, why: str, suggestion: str = "") -> Invalid:
    return refused(f"{shorten(text)!r} is no port mapping: {why}", suggestion=suggestion, kind="InvalidPort")


class Mapping:
    """A map, or the text that says the same."""

    def read(self, node: Node, at: At) -> PortSpec | None:
        if not isinstance(node, Scalar) or node.tag or isinstance(node.value, bool | None):
            return LONG.read(node, at)
        try:
            return parse_mapping(node.text)
        except Invalid as bad:
            at.replay(node, bad)
            return None

    def schema(self) -> Json:
        short: Json = {"type": "string", "pattern": SHORT_PATTERN, "description": "[[IP:]HOST_PORT:]PORT[/tcp|udp]"}
        return {"anyOf": [LONG.schema(), short, {"type": "integer", "minimum": 1, "maximum": 65535}]}


PORT_MAPPINGS: ListOf[PortSpec] = ListOf(Mapping(), "Ports of the node that lead to the container, past the proxy.")
