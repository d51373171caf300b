"""Which keys of an endpoint mean something for its protocol. The others are refused: none is accepted and ignored."""

from __future__ import annotations

from zlayer.spec.limits import TIMES_OF
from zlayer.spec.nodes import Node, Scalar, Table
from zlayer.spec.report import At
from zlayer.spec.traffic import EndpointSpec

_HTTP = ("http", "https")
_TCP = ("tcp", "passthrough")
_STREAMS = (*_TCP, "udp")
KEYS: dict[str, tuple[tuple[str, ...], str]] = {
    "host": ((*_HTTP, "passthrough"), "only http requests, and TLS that is passed through, name a host"),
    "path": (_HTTP, "only http requests have a path that the proxy sees"),
    "strip_path": (_HTTP, "only http requests have a path that the proxy sees"),
    "http2": (_HTTP, "HTTP/2 is spoken by http and https endpoints"),
    "sticky": ((*_HTTP, *_TCP), "a udp packet carries no cookie; its session stays with its replica anyway"),
    "limits": ((*_HTTP, *_TCP), "the kernel forwards udp, and counts no requests"),
    "timeouts": ((*_HTTP, *_TCP), "of a udp session there is stream.session_timeout"),
    "stream": (_STREAMS, "http requests carry the client's address in X-Forwarded-For"),
}
"""Key -> the modes it belongs to, and why not the others."""
_STREAM_KEYS: dict[str, tuple[str, ...]] = {
    "proxy_protocol": _TCP,
    "session_timeout": ("udp",),
    "health_check": _TCP,
}


def check(made: EndpointSpec, found: Table, at: At) -> None:
    """What the keys of one endpoint must be to each other."""
    for key, (modes, why) in KEYS.items():
        if made.mode not in modes and _says(found, key):
            _refuse(found, at, key, f"{key} is not for {_called(made)}: {why}")
    _tls(made, found, at)
    _parts(made, found, at)
    if made.http2 and made.protocol == "websocket":
        _refuse(found, at, "http2", "http2 is not for websocket endpoints: a WebSocket starts as HTTP/1.1")
    if made.mode == "udp" and made.balance == "least_connections":
        _refuse(found, at, "balance", "the kernel forwards udp, and spreads it by round_robin only", "round_robin")
    if made.strip_path and made.mode in _HTTP and made.path == "/":
        _refuse(found, at, "strip_path", "strip_path takes away the path, and there is none: give path")


def _tls(made: EndpointSpec, found: Table, at: At) -> None:
    if made.tls is None or "tls" not in found.entries:
        return
    if made.protocol == "tcp" and made.tls.mode != "passthrough":
        _refuse(found, at, "tls", "the tls of a tcp endpoint can only be passed through", "mode: passthrough")
    elif made.protocol not in ("https", "tcp"):
        near = "protocol: https" if made.protocol != "udp" else ""
        _refuse(found, at, "tls", f"tls belongs to https endpoints, not {made.protocol}", near)
    elif made.tls.mode == "acme" and made.host is None and "host" not in found.entries:
        _refuse(found, at, "tls", "a certificate authority signs names: tls mode acme needs a host")


def _parts(made: EndpointSpec, found: Table, at: At) -> None:
    """Keys one level deeper; a whole block that has no place was told already."""
    limits, times, stream = (found.get(name) for name in ("limits", "timeouts", "stream"))
    if made.mode in _TCP and isinstance(limits, Table) and "max_body" in limits.entries:
        _refuse(limits, at / "limits", "max_body", f"max_body is not for {_called(made)}: only http requests have one")
    if made.mode in KEYS["timeouts"][0] and isinstance(times, Table):
        for key in times.entries.keys() - set(TIMES_OF[made.mode]):
            listed = ", ".join(TIMES_OF[made.mode])
            _refuse(times, at / "timeouts", key, f"timeouts.{key} is not for {_called(made)}, which has {listed}")
    if made.mode in _STREAMS and isinstance(stream, Table):
        for key, modes in _STREAM_KEYS.items():
            if made.mode not in modes and getattr(made.stream, key, None) not in (None, False):
                listed = " and ".join(modes)
                _refuse(stream, at / "stream", key, f"stream.{key} is for {listed} endpoints, not {_called(made)}")


def _says(found: Table, key: str) -> bool:
    """Whether the key is written with something other than false."""
    node: Node | None = found.get(key)
    return node is not None and not (isinstance(node, Scalar) and node.value is False)


def _called(made: EndpointSpec) -> str:
    return "TLS that is passed through" if made.mode == "passthrough" else f"{made.protocol} endpoints"


def _refuse(found: Table, at: At, key: str, message: str, suggestion: str = "") -> None:
    (at / key).refuse(found.entries[key][0], message, suggestion=suggestion, kind="Conflict")
