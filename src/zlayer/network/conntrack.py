"""Connections that the kernel tracks through forwards: counted, and forgotten, over ctnetlink.

Raw, because the dump is one message and the delete another: no process per look, no package to install.
Formats: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from zlayer.network.netlink import NLA_F_NESTED, Netlink, attr, attributes
from zlayer.network.nfnetlink import GENMSG, SUBSYS_CTNETLINK, as_be16, as_be32, genmsg, kind

CT_GET, CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO = 1, 2, 3, 4
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V6_SRC = 1, 3
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE = 1, 1
IPS_SRC_NAT, IPS_DST_NAT = 1 << 4, 1 << 5
LIVE = range(1, 6)
"""SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT: one side at least may still send."""
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Flow:
    """`server` and `server_port` are who answers in truth, `port` is what the client asked for."""

    family: int
    protocol: int
    server: str
    server_port: int
    port: int
    forwarded: bool
    plain: bool
    """Neither end was rewritten."""
    live: bool
    original: bytes


def flows(netlink: Netlink, protocol: int) -> Iterator[Flow]:
    """Every tracked connection of a transport protocol, both families."""
    for family in FAMILIES:
        for payload in netlink.dump(kind(SUBSYS_CTNETLINK, CT_GET), genmsg(family)):
            flow = _flow(payload, family, protocol)
            if flow is not None:
                yield flow


def count(netlink: Netlink, addresses: Collection[str]) -> dict[str, int]:
    """Live TCP connections that came through a forward, by who answers."""
    found: dict[str, int] = {}
    for flow in flows(netlink, socket.IPPROTO_TCP):
        if flow.forwarded and flow.live and flow.server in addresses:
            found[flow.server] = found.get(flow.server, 0) + 1
    return found


def forget(netlink: Netlink, flow: Flow) -> None:
    """The next packet of it is a new connection's. Gone already: success."""
    body = genmsg(flow.family) + attr(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original)
    try:
        netlink.request(kind(SUBSYS_CTNETLINK, CT_DELETE), body)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _flow(payload: bytes, family: int, protocol: int) -> Flow | None:
    parts = attributes(payload, GENMSG.size)
    original, reply = attributes(parts[CTA_TUPLE_ORIG]), attributes(parts[CTA_TUPLE_REPLY])
    ends = attributes(original[CTA_TUPLE_PROTO])
    if ends[CTA_PROTO_NUM][0] != protocol or CTA_PROTO_DST_PORT not in ends:
        return None
    addresses = attributes(reply[CTA_TUPLE_IP])
    status = as_be32(parts[CTA_STATUS]) if CTA_STATUS in parts else 0
    return Flow(
        family=family,
        protocol=protocol,
        server=str(ip_address(addresses.get(CTA_IP_V4_SRC) or addresses[CTA_IP_V6_SRC])),
        server_port=as_be16(attributes(reply[CTA_TUPLE_PROTO])[CTA_PROTO_SRC_PORT]),
        port=as_be16(ends[CTA_PROTO_DST_PORT]),
        forwarded=bool(status & IPS_DST_NAT),
        plain=not status & (IPS_DST_NAT | IPS_SRC_NAT),
        live=_state(parts.get(CTA_PROTOINFO, b"")) in LIVE,
        original=parts[CTA_TUPLE_ORIG],
    )


def _state(protoinfo: bytes) -> int:
    tcp = attributes(attributes(protoinfo).get(CTA_PROTOINFO_TCP, b""))
    return tcp[CTA_PROTOINFO_TCP_STATE][0] if CTA_PROTOINFO_TCP_STATE in tcp else 0
