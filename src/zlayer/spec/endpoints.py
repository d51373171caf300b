"""`endpoints` and `expose`: the ports of a service."""

from __future__ import annotations

from typing import Any

from zlayer.model.endpoint import Timeouts
from zlayer.spec import applies
from zlayer.spec.limits import LIMITS, TIMEOUTS, TIMES_OF
from zlayer.spec.nodes import Listing, Node, Scalar
from zlayer.spec.records import Field, ListOf, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Flag, Json, Number, Text, described
from zlayer.spec.stream import STREAM
from zlayer.spec.syntax import EXPOSE_PATTERN, NAME_PATTERN, check_expose, check_name
from zlayer.spec.tls import TLS
from zlayer.spec.traffic import EndpointSpec, StreamSpec, TimeoutsSpec, TlsSpec
from zlayer.spec.webnames import HOST_PATTERN, PATH_PATTERN, check_host, check_path

PORT = Number("1-65535", 1, 65535, fault="InvalidPort")
PROTOCOLS = ("http", "https", "tcp", "udp", "websocket")
_USUAL = Timeouts()
_SESSION = 60


class Expose:
    """`internal` or `public`; false and true mean the same two (guide form)."""

    about = "Who may reach it: `internal` (or false), its deployment and the node; `public` (or true), everybody."

    def read(self, node: Node, at: At) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return "public" if node.value else "internal"
        return Choice(self.about, ("internal", "public"), synonyms={"private": "internal"}).read(node, at)

    def schema(self) -> Json:
        return described({"enum": ["internal", "public", False, True]}, self.about)


def make_endpoint(**values: Any) -> EndpointSpec:  # Any: fields read by their shapes
    """In normal form: `target_port`, TLS, path and times filled in where the protocol has a use for them."""
    values.setdefault("target_port", values["port"])
    if values["protocol"] == "https":
        values.setdefault("tls", TlsSpec())
    made = EndpointSpec(**values)
    filled: dict[str, object] = {"stream": None if made.stream == StreamSpec() else made.stream}
    if made.mode in ("http", "https"):
        filled["path"] = made.path or "/"
    if made.mode == "udp":
        stream = made.stream or StreamSpec()
        session = _SESSION if stream.session_timeout is None else stream.session_timeout
        filled["stream"] = stream.model_copy(update={"session_timeout": session})
    times = {name: getattr(_USUAL, name) for name in TIMES_OF[made.mode]}
    given = {name: value for name, value in made.timeouts if value is not None}
    filled["timeouts"] = TimeoutsSpec(**(times | given))
    return made.model_copy(update=filled)


def _check_names(items: tuple[tuple[int, EndpointSpec], ...], found: Listing, at: At) -> None:
    names: dict[str, int] = {}
    for i, item in items:
        if item.name in names:
            where = f"endpoint {names[item.name] + 1} of the service has it too"
            message = f"the endpoint name {item.name!r} is used twice: {where}"
            (at / i).refuse(found.items[i], message, kind="DuplicateEndpoint")
        names.setdefault(item.name, i)


_SPOKEN = {
    "ws": "websocket", "wss": "https", "grpc": "http", "h2c": "http", "http2": "http", "tls": "https", "ssl": "https",
    "grpcs": "https",
}  # fmt: skip
ENDPOINT: Record[EndpointSpec] = Record(
    make_endpoint,
    {
        "name": Field(Text("Unique within the service.", check_name, NAME_PATTERN), required=True),
        "protocol": Field(Choice("How it is spoken.", PROTOCOLS, synonyms=_SPOKEN), required=True),
        "port": Field(Number("Where the proxy listens.", 1, 65535, fault="InvalidPort"), required=True),
        "target_port": Field(
            Number("Where the container listens. Default: the same as port.", 1, 65535, fault="InvalidPort")
        ),
        "expose": Field(Expose()),
        "host": Field(Text("Exact name or `*.suffix`. Default: any.", check_host, HOST_PATTERN)),
        "path": Field(Text("Path prefix. Default: /.", check_path, PATH_PATTERN)),
        "strip_path": Field(Flag("The container does not see the path prefix.")),
        "http2": Field(Flag("The container speaks HTTP/2 without TLS (h2c), as gRPC servers do.")),
        "balance": Field(
            Choice(
                "Default round_robin.",
                ("round_robin", "least_connections"),
                synonyms={"roundrobin": "round_robin", "leastconn": "least_connections", "rr": "round_robin"},
            )
        ),
        "sticky": Field(Flag("A client comes back to the replica it was at.")),
        "tls": Field(TLS),
        "limits": Field(LIMITS),
        "timeouts": Field(TIMEOUTS),
        "stream": Field(STREAM),
    },
    "A port the service answers on.",
    later={"target_role": None, "tunnel": None},
    synonyms={
        "container_port": "target_port", "targetPort": "target_port", "proto": "protocol", "hostname": "host",
        "domain": "host", "public": "expose", "prefix": "path", "h2c": "http2", "grpc": "http2", "sni": "host",
        "strip_prefix": "strip_path", "rate_limit": "limits", "rate": "limits", "timeout": "timeouts",
        "proxy_protocol": "stream", "session_timeout": "stream", "certificate": "tls", "lb": "balance",
    },
    check=applies.check,
)  # fmt: skip

ENDPOINTS: ListOf[EndpointSpec] = ListOf(
    ENDPOINT,
    "Ports the service answers on, through the proxy.",
    _check_names,
)

EXPOSE = ListOf(
    Text("`3000` or `8080/tcp`", check_expose, EXPOSE_PATTERN, loose=True),
    "Documentation only: ports the image listens on.",
)
