"""Links, addresses and routes of one network namespace, as typed calls over a rtnetlink socket.

Each `add_*` raises `FileExistsError` when it is there already, `delete_link` of an unknown link is success.
Layouts: linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/veth.h, linux/if_bridge.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from concurrent.futures import Executor
from dataclasses import dataclass

from zlayer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Netlink,
    as_text,
    as_u32,
    attr,
    attributes,
    nested,
    text_attr,
    u32_attr,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 26, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER, IFLA_BRPORT_MODE, IFLA_INET6_ADDR_GEN_MODE = 1, 4, 8
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 3, 0, 1
IFF_UP, ADDR_GEN_NONE, LOOPBACK, RTMGRP_LINK = 0x1, 1, 1, 0x1

IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    up: bool
    mtu: int
    master: int
    mac: str


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair to make: `name` on this side, a port of the bridge `master`, in the device group `group`; `peer` there."""

    name: str
    peer: str
    peer_mac: str
    mtu: int
    group: int = 0
    master: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route of the main table; `destination` is in CIDR form, the default route is 0.0.0.0/0."""

    destination: str
    link: int
    priority: int


def _ifinfo(index: int = 0, *, up: bool = False) -> bytes:
    flag = IFF_UP if up else 0
    return IFINFO.pack(socket.AF_UNSPEC, 0, index, flag, flag)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _link(payload: bytes) -> Link:
    _, _, index, flags, _ = IFINFO.unpack_from(payload)
    found = attributes(payload, IFINFO.size)
    return Link(
        index=index,
        name=as_text(found.get(IFLA_IFNAME, b"")),
        up=bool(flags & IFF_UP),
        mtu=as_u32(found[IFLA_MTU]) if IFLA_MTU in found else 0,
        master=as_u32(found[IFLA_MASTER]) if IFLA_MASTER in found else 0,
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
    )


def get_link(netlink: Netlink, name: str) -> Link | None:
    try:
        return _link(netlink.query(RTM_GETLINK, _ifinfo() + text_attr(IFLA_IFNAME, name)))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links(netlink: Netlink, *, kind: str = "") -> list[Link]:
    """Every link, or those of a kind such as `veth` (filtered by the kernel)."""
    wanted = nested(IFLA_LINKINFO, text_attr(IFLA_INFO_KIND, kind)) if kind else b""
    return [_link(payload) for payload in netlink.dump(RTM_GETLINK, _ifinfo() + wanted)]


def add_bridge(netlink: Netlink, name: str, *, mac: str, mtu: int) -> None:
    """A bridge, up. Its own MAC is given, else it would change with its ports and spoil neighbours' ARP entries."""
    body = (
        _ifinfo(up=True)
        + text_attr(IFLA_IFNAME, name)
        + attr(IFLA_ADDRESS, _mac(mac))
        + u32_attr(IFLA_MTU, mtu)
        + nested(IFLA_LINKINFO, text_attr(IFLA_INFO_KIND, "bridge"))
    )
    netlink.request(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def add_veth(netlink: Netlink, pair: Veth, peer_netns: int) -> None:
    """A pair, both ends down: the near one here, its peer in the namespace behind the descriptor `peer_netns`."""
    other = (
        _ifinfo()
        + text_attr(IFLA_IFNAME, pair.peer)
        + attr(IFLA_ADDRESS, _mac(pair.peer_mac))
        + u32_attr(IFLA_MTU, pair.mtu)
        + u32_attr(IFLA_NET_NS_FD, peer_netns)
    )
    kind = text_attr(IFLA_INFO_KIND, "veth") + nested(IFLA_INFO_DATA, attr(VETH_INFO_PEER, other))
    body = (
        _ifinfo()
        + text_attr(IFLA_IFNAME, pair.name)
        + u32_attr(IFLA_MTU, pair.mtu)
        + u32_attr(IFLA_GROUP, pair.group)
        + u32_attr(IFLA_MASTER, pair.master)
        + nested(IFLA_LINKINFO, kind)
    )
    netlink.request(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def set_link(netlink: Netlink, index: int, *, up: bool = True, mtu: int = 0) -> None:
    netlink.request(RTM_NEWLINK, _ifinfo(index, up=up) + (u32_attr(IFLA_MTU, mtu) if mtu else b""))


def enslave(netlink: Netlink, index: int, master: int) -> None:
    """Make a link a port of a bridge. Already so: success."""
    netlink.request(RTM_NEWLINK, _ifinfo(index) + u32_attr(IFLA_MASTER, master))


def open_port(netlink: Netlink, index: int) -> None:
    """Bring a bridge port up, with hairpin (a container reaches its own address) and no IPv6 chatter of its own."""
    hairpin = nested(IFLA_INFO_SLAVE_DATA, attr(IFLA_BRPORT_MODE, b"\1"))
    port = _ifinfo(index, up=True) + nested(IFLA_LINKINFO, text_attr(IFLA_INFO_SLAVE_KIND, "bridge"), hairpin)
    quiet = nested(socket.AF_INET6, attr(IFLA_INET6_ADDR_GEN_MODE, bytes((ADDR_GEN_NONE,))))
    try:
        netlink.request(RTM_NEWLINK, port + nested(IFLA_AF_SPEC, quiet))
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:  # a kernel without IPv6 is quiet as it is
            raise
        netlink.request(RTM_NEWLINK, port)


def delete_link(netlink: Netlink, name: str) -> None:
    """Gone when this returns; a veth takes its peer along, whatever namespace that is in. Unknown: success."""
    try:
        netlink.request(RTM_DELLINK, _ifinfo() + text_attr(IFLA_IFNAME, name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def delete_link_early(index: int, aside: Executor) -> None:
    """Delete a link of the calling thread's namespace, and return as soon as nobody can see it any more.

    The kernel announces that after 0.4 ms but answers after 15 ms and more (an RCU grace period); a thread of `aside`
    sits that out. Unknown: success.
    """
    try:
        with Netlink(RTMGRP_LINK) as netlink:
            aside.submit(netlink.post, RTM_DELLINK, _ifinfo(index))
            for kind, payload in netlink.notices():
                if kind == RTM_DELLINK and IFINFO.unpack_from(payload)[2] == index:
                    return
    except OSError as error:
        if error.errno == errno.ENOBUFS:  # a storm of notices buried ours: ask again and sit it out
            delete_link_at(index)
        elif error.errno != errno.ENODEV:
            raise


def delete_link_at(index: int) -> None:
    """Delete a link of the calling thread's namespace by its number and wait for the answer. Unknown: success."""
    try:
        with Netlink() as netlink:
            netlink.request(RTM_DELLINK, _ifinfo(index))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def delete_group(netlink: Netlink, group: int) -> None:
    """Every link of a device group, in one go. None: success."""
    try:
        netlink.request(RTM_DELLINK, _ifinfo() + u32_attr(IFLA_GROUP, group))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def add_address(netlink: Netlink, index: int, address: str) -> None:
    """`address` with its prefix, e.g. `10.64.0.2/20`. There already: success."""
    netlink.requests(_address(index, address))


def configure(netlink: Netlink, index: int, address: str, gateway: str) -> None:
    """Loopback and the link up, its address and the default route: all that a container needs, in one go."""
    default = RTMSG.pack(socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    route = default + attr(RTA_GATEWAY, socket.inet_aton(gateway)) + u32_attr(RTA_OIF, index)
    netlink.requests(
        (RTM_NEWLINK, _ifinfo(LOOPBACK, up=True), 0),
        (RTM_NEWLINK, _ifinfo(index, up=True), 0),
        _address(index, address),
        (RTM_NEWROUTE, route, NLM_F_CREATE | NLM_F_REPLACE),
    )


def _address(index: int, address: str) -> tuple[int, bytes, int]:
    interface = ipaddress.IPv4Interface(address)
    body = (
        IFADDR.pack(socket.AF_INET, interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
        + attr(IFA_LOCAL, interface.packed)
        + attr(IFA_ADDRESS, interface.packed)
        + attr(IFA_BROADCAST, interface.network.broadcast_address.packed)
    )
    return RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE


def delete_address(netlink: Netlink, index: int, address: str) -> None:
    interface = ipaddress.IPv4Interface(address)
    family = IFADDR.pack(socket.AF_INET, interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    netlink.request(RTM_DELADDR, family + attr(IFA_LOCAL, interface.packed))


def addresses(netlink: Netlink, index: int) -> set[str]:
    """IPv4 addresses of a link, each with its prefix."""
    found: set[str] = set()
    for payload in netlink.dump(RTM_GETADDR, IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, link = IFADDR.unpack_from(payload)
        local = attributes(payload, IFADDR.size).get(IFA_LOCAL)
        if link == index and local:
            found.add(f"{socket.inet_ntoa(local)}/{prefix}")
    return found


def routes(netlink: Netlink) -> list[Route]:
    """The main table's IPv4 routes."""
    found: list[Route] = []
    asked = RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    for payload in netlink.dump(RTM_GETROUTE, asked):
        _, prefix, _, _, table, _, _, _, _ = RTMSG.unpack_from(payload)
        parts = attributes(payload, RTMSG.size)
        if (as_u32(parts[RTA_TABLE]) if RTA_TABLE in parts else table) != RT_TABLE_MAIN:
            continue
        destination = socket.inet_ntoa(parts.get(RTA_DST, b"\0\0\0\0"))
        link = as_u32(parts[RTA_OIF]) if RTA_OIF in parts else 0
        priority = as_u32(parts[RTA_PRIORITY]) if RTA_PRIORITY in parts else 0
        found.append(Route(f"{destination}/{prefix}", link, priority))
    return found
