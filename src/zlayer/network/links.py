"""Links of one network namespace, as typed calls over a rtnetlink socket.

Each `add_*` raises `FileExistsError` when it is there already, `delete_link` of an unknown link is success.
Layouts: linux/if_link.h, linux/veth.h, linux/if_bridge.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from concurrent.futures import Executor
from dataclasses import dataclass

from zlayer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Netlink,
    as_text,
    as_u32,
    attr,
    attribute,
    attributes,
    nested,
    text_attr,
    u32_attr,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 26, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER, IFLA_BRPORT_MODE, IFLA_INET6_ADDR_GEN_MODE = 1, 4, 8
IFF_UP, ADDR_GEN_NONE, LOOPBACK, RTMGRP_LINK = 0x1, 1, 1, 0x1

IFINFO = struct.Struct("=BxHiII")


QUIET = nested(IFLA_AF_SPEC, nested(socket.AF_INET6, attr(IFLA_INET6_ADDR_GEN_MODE, bytes((ADDR_GEN_NONE,)))))
"""No link-local address: neither router solicitations nor duplicate detection from every instance."""


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    up: bool
    mtu: int
    master: int
    mac: str
    group: int = 0


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair to make: `name` on this side, a port of the bridge `master`, in the device group `group`; `peer` there."""

    name: str
    peer: str
    peer_mac: str
    mtu: int
    group: int = 0
    master: int = 0


def ifinfo(index: int = 0, *, up: bool = False) -> bytes:
    flag = IFF_UP if up else 0
    return IFINFO.pack(socket.AF_UNSPEC, 0, index, flag, flag)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def as_link(payload: bytes) -> Link:
    _, _, index, flags, _ = IFINFO.unpack_from(payload)
    found = attributes(payload, IFINFO.size)
    return Link(
        index=index,
        name=as_text(found.get(IFLA_IFNAME, b"")),
        up=bool(flags & IFF_UP),
        mtu=as_u32(found[IFLA_MTU]) if IFLA_MTU in found else 0,
        master=as_u32(found[IFLA_MASTER]) if IFLA_MASTER in found else 0,
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        group=as_u32(found[IFLA_GROUP]) if IFLA_GROUP in found else 0,
    )


def name_in(payload: bytes) -> str:
    """Of the link a notice is about. There are many, of fifty attributes each; the name comes first."""
    return as_text(attribute(payload, IFLA_IFNAME, IFINFO.size) or b"")


def get_link(netlink: Netlink, name: str) -> Link | None:
    try:
        return as_link(netlink.query(RTM_GETLINK, ifinfo() + text_attr(IFLA_IFNAME, name)))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links(netlink: Netlink, *, kind: str = "") -> list[Link]:
    """Every link, or those of a kind such as `veth` (filtered by the kernel)."""
    wanted = nested(IFLA_LINKINFO, text_attr(IFLA_INFO_KIND, kind)) if kind else b""
    return [as_link(payload) for payload in netlink.dump(RTM_GETLINK, ifinfo() + wanted)]


def add_bridge(netlink: Netlink, name: str, *, mac: str, mtu: int) -> None:
    """A bridge, up. Its own MAC is given, else it would change with its ports and spoil neighbours' ARP entries."""
    body = (
        ifinfo(up=True)
        + text_attr(IFLA_IFNAME, name)
        + attr(IFLA_ADDRESS, _mac(mac))
        + u32_attr(IFLA_MTU, mtu)
        + nested(IFLA_LINKINFO, text_attr(IFLA_INFO_KIND, "bridge"))
    )
    netlink.request(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def add_veth(netlink: Netlink, pair: Veth, peer_netns: int) -> None:
    """A pair, both ends down: the near one here, its peer in the namespace behind the descriptor `peer_netns`."""
    other = (
        ifinfo()
        + text_attr(IFLA_IFNAME, pair.peer)
        + attr(IFLA_ADDRESS, _mac(pair.peer_mac))
        + u32_attr(IFLA_MTU, pair.mtu)
        + u32_attr(IFLA_NET_NS_FD, peer_netns)
    )
    kind = text_attr(IFLA_INFO_KIND, "veth") + nested(IFLA_INFO_DATA, attr(VETH_INFO_PEER, other))
    body = (
        ifinfo()
        + text_attr(IFLA_IFNAME, pair.name)
        + u32_attr(IFLA_MTU, pair.mtu)
        + u32_attr(IFLA_GROUP, pair.group)
        + u32_attr(IFLA_MASTER, pair.master)
        + nested(IFLA_LINKINFO, kind)
    )
    netlink.request(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def set_link(netlink: Netlink, index: int, *, up: bool = True, mtu: int = 0) -> None:
    head = IFINFO.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP)
    netlink.request(RTM_NEWLINK, head + (u32_attr(IFLA_MTU, mtu) if mtu else b""))


def enslave(netlink: Netlink, index: int, master: int, group: int = 0) -> None:
    """Make a link a port of a bridge, in a device group. Already so: success."""
    netlink.request(RTM_NEWLINK, ifinfo(index) + u32_attr(IFLA_MASTER, master) + u32_attr(IFLA_GROUP, group))


def open_port(netlink: Netlink, index: int) -> None:
    """Bring a bridge port up, with hairpin (a container reaches its own address) and no IPv6 chatter of its own."""
    hairpin = nested(IFLA_INFO_SLAVE_DATA, attr(IFLA_BRPORT_MODE, b"\1"))
    port = ifinfo(index, up=True) + nested(IFLA_LINKINFO, text_attr(IFLA_INFO_SLAVE_KIND, "bridge"), hairpin)
    try:
        netlink.request(RTM_NEWLINK, port + QUIET)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:  # a kernel without IPv6 is quiet as it is
            raise
        netlink.request(RTM_NEWLINK, port)


def delete_link(netlink: Netlink, name: str) -> None:
    """Gone when this returns; a veth takes its peer along, whatever namespace that is in. Unknown: success."""
    try:
        netlink.request(RTM_DELLINK, ifinfo() + text_attr(IFLA_IFNAME, name))
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
            aside.submit(netlink.post, RTM_DELLINK, ifinfo(index))
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
            netlink.request(RTM_DELLINK, ifinfo(index))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def delete_group(netlink: Netlink, group: int) -> None:
    """Every link of a device group, in one go. None: success."""
    try:
        netlink.request(RTM_DELLINK, ifinfo() + u32_attr(IFLA_GROUP, group))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
