"""Addresses and routes of one network namespace, IPv4 and IPv6, as typed calls over a rtnetlink socket.

Layouts: linux/if_addr.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from zlayer.network.links import LOOPBACK, QUIET, RTM_NEWLINK, ifinfo
from zlayer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Netlink,
    as_u32,
    attr,
    attributes,
    u32_attr,
)

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, RTN_UNREACHABLE = 254, 3, 0, 1, 7
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
PROTOCOL = 122
"""The route protocol of what we claim: `ip route show proto 122`."""
FAMILIES = (socket.AF_INET, socket.AF_INET6)

IFADDR = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")

Message = tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table; `destination` is in CIDR form, the default routes are 0.0.0.0/0 and ::/0."""

    destination: str
    link: int
    priority: int
    unreachable: bool = False
    protocol: int = 0


def add_address(netlink: Netlink, index: int, address: str) -> None:
    """`address` with its prefix, e.g. `10.64.0.2/26`; usable at once. There already: success."""
    netlink.requests(_address(index, address))


def configure(netlink: Netlink, index: int, addresses: Sequence[str], gateways: Sequence[str]) -> None:
    """Loopback and the link up, its addresses and default routes: all that a container needs, in one go."""
    netlink.requests(
        (RTM_NEWLINK, ifinfo(LOOPBACK, up=True), 0),
        (RTM_NEWLINK, ifinfo(index, up=True) + (QUIET if len(addresses) > 1 else b""), 0),
        *(_address(index, address) for address in addresses),
        *(_default(index, gateway) for gateway in gateways),
    )


def _default(index: int, gateway: str) -> Message:
    hop = ipaddress.ip_address(gateway)
    family = socket.AF_INET6 if hop.version == 6 else socket.AF_INET
    head = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return RTM_NEWROUTE, head + attr(RTA_GATEWAY, hop.packed) + u32_attr(RTA_OIF, index), NLM_F_CREATE | NLM_F_REPLACE


def _address(index: int, address: str) -> Message:
    interface = ipaddress.ip_interface(address)
    network = interface.network
    local = attr(IFA_LOCAL, interface.packed) + attr(IFA_ADDRESS, interface.packed)
    if network.version == 6:
        head = IFADDR.pack(socket.AF_INET6, network.prefixlen, IFA_F_NODAD, RT_SCOPE_UNIVERSE, index)
        return RTM_NEWADDR, head + local + u32_attr(IFA_FLAGS, IFA_F_NODAD), NLM_F_CREATE | NLM_F_REPLACE
    head = IFADDR.pack(socket.AF_INET, network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    broadcast = attr(IFA_BROADCAST, network.broadcast_address.packed)
    return RTM_NEWADDR, head + local + broadcast, NLM_F_CREATE | NLM_F_REPLACE


def delete_address(netlink: Netlink, index: int, address: str) -> None:
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET6 if interface.version == 6 else socket.AF_INET
    head = IFADDR.pack(family, interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    netlink.request(RTM_DELADDR, head + attr(IFA_LOCAL, interface.packed))


def addresses(netlink: Netlink) -> dict[int, set[str]]:
    """Addresses by link, each with its prefix; link-local ones are the kernel's own business and left out."""
    found: dict[int, set[str]] = {}
    for family in FAMILIES:
        for payload in netlink.dump(RTM_GETADDR, IFADDR.pack(family, 0, 0, 0, 0)):
            _, prefix, _, _, link = IFADDR.unpack_from(payload)
            parts = attributes(payload, IFADDR.size)
            local = ipaddress.ip_address(parts.get(IFA_LOCAL) or parts[IFA_ADDRESS])
            if not local.is_link_local:
                found.setdefault(link, set()).add(f"{local}/{prefix}")
    return found


def routes(netlink: Netlink) -> list[Route]:
    """The main table's routes of both families."""
    asked = (RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) for family in FAMILIES)
    found = (as_route(payload) for one in asked for payload in netlink.dump(RTM_GETROUTE, one))
    return [route for route in found if route is not None]


def as_route(payload: bytes) -> Route | None:
    """None for one of another table, and for multicast and link-local ones, which every link has."""
    family, prefix, _, _, table, protocol, _, kind, _ = RTMSG.unpack_from(payload)
    parts = attributes(payload, RTMSG.size)
    if (as_u32(parts[RTA_TABLE]) if RTA_TABLE in parts else table) != RT_TABLE_MAIN or family not in FAMILIES:
        return None
    destination = ipaddress.ip_address(parts.get(RTA_DST, b"\0" * (16 if family == socket.AF_INET6 else 4)))
    if destination.is_link_local or destination.is_multicast:
        return None
    link = as_u32(parts[RTA_OIF]) if RTA_OIF in parts else 0
    priority = as_u32(parts[RTA_PRIORITY]) if RTA_PRIORITY in parts else 0
    return Route(f"{destination}/{prefix}", link, priority, kind == RTN_UNREACHABLE, protocol)


def claim(netlink: Netlink, destination: str, priority: int) -> None:
    """An `unreachable` route: what nothing more specific covers goes nowhere. There already: success."""
    try:
        netlink.request(RTM_NEWROUTE, _claim(destination, priority), NLM_F_CREATE | NLM_F_EXCL)
    except FileExistsError:
        return


def disclaim(netlink: Netlink, destination: str, priority: int) -> None:
    """Take a claim back. Gone already: success."""
    try:
        netlink.request(RTM_DELROUTE, _claim(destination, priority))
    except OSError as error:
        if error.errno not in {errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT}:
            raise


def _claim(destination: str, priority: int) -> bytes:
    network = ipaddress.ip_network(destination)
    family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
    head = RTMSG.pack(family, network.prefixlen, 0, 0, RT_TABLE_MAIN, PROTOCOL, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE, 0)
    return head + attr(RTA_DST, network.network_address.packed) + u32_attr(RTA_PRIORITY, priority)
