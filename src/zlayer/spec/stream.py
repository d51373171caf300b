"""`stream` of an endpoint: what only those below HTTP have."""

from __future__ import annotations

import re
from typing import Any

from zlayer.spec.health import duration
from zlayer.spec.nodes import Node, Scalar, Table, shorten
from zlayer.spec.records import Field, Record, table
from zlayer.spec.report import At, refused
from zlayer.spec.shapes import Choice, Flag, Json, Text
from zlayer.spec.traffic import StreamCheckSpec, StreamSpec


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as bad:
        raise refused(f"{shorten(text)!r} is not a regular expression: {bad.msg}") from None
    return text


def _escapes(text: str) -> str:
    if bad := re.search(r"\\(?!x[0-9A-Fa-f]{2}|[\\rnt0])", text):
        raise refused(f"unknown escape {shorten(text[bad.start() :], 5)!r}: write a byte as \\xFF")
    return text


_UDP_PROBE: Record[Any] = Record(
    dict,
    {
        "type": Field(Text(), required=True),
        "request": Field(Text("Sent; \\xFF is a byte.", _escapes), required=True),
        "expect": Field(Text("What the answer must match.", _regex)),
    },
)
_TCP_CONNECT = Record(StreamCheckSpec, {"type": Field(Choice("", ("tcp_connect",)), required=True)})
_CHECK_TYPE = Choice("", ("tcp_connect",), ("udp_probe",), {"tcp": "tcp_connect", "udp": "udp_probe"})


class StreamCheck:
    """The union under `stream.health_check`."""

    about = "A replica gets traffic when it accepts a connection to this endpoint; instead of `health`."

    def read(self, node: Node, at: At) -> StreamCheckSpec | None:
        found = table(node, at, "a map such as {type: tcp_connect}", "type")
        if found is None:
            return None
        tag = found.get("type")
        if tag is None:
            at.refuse(found, "the key 'type' is missing: tcp_connect", kind="MissingKey")
            return None
        if isinstance(tag, Scalar) and tag.text == "udp_probe":
            _UDP_PROBE.read(found, at)
        if _CHECK_TYPE.read(tag, at / "type") is None:
            return None
        return _TCP_CONNECT.read(found, at)

    def schema(self) -> Json:
        return {**_TCP_CONNECT.schema(), "description": self.about}


def _no_tls(made: StreamSpec, found: Table, at: At) -> None:
    node = found.get("tls")
    if getattr(node, "value", None) is True and node is not None:
        (at / "tls").not_yet(node, "tls: true (TLS of a tcp stream that ends at the proxy)")


def _stream(*, tls: bool = False, **values: Any) -> StreamSpec:  # Any: fields read by their shapes
    return StreamSpec(**values)


class _NotTrue(Flag):
    def schema(self) -> Json:
        return {"const": False, "description": self.about}


STREAM: Record[StreamSpec] = Record(
    _stream,
    {
        "tls": Field(_NotTrue("Only false so far.")),
        "proxy_protocol": Field(Flag("Tell the container the client's address by the PROXY protocol, version 2.")),
        "session_timeout": Field(duration("Of a udp session without a packet. Default 60s.")),
        "health_check": Field(StreamCheck()),
    },
    "What only endpoints below HTTP have.",
    synonyms={"send_proxy": "proxy_protocol", "timeout": "session_timeout", "check": "health_check"},
    check=_no_tls,
)
