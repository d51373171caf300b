"""What nfnetlink tells without nft's grammar: the ruleset's generation, and whose table a notice is about.

Formats: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Numbers in attributes are big-endian.
"""

from __future__ import annotations

import socket
import struct

from zlayer.network.netlink import Netlink, as_text, attributes

NETLINK_NETFILTER = 12
SUBSYS_CTNETLINK, SUBSYS_NFTABLES = 1, 10
NFT_MSG_NEWGEN, NFT_MSG_GETGEN = 15, 16
NFTA_GEN_ID, NFTA_TABLE = 1, 1
RTNLGRP_NFTABLES = 7
GENMSG = struct.Struct("=BBH")
VERSION = 0


def genmsg(family: int = socket.AF_UNSPEC) -> bytes:
    return GENMSG.pack(family, VERSION, 0)


def kind(subsystem: int, message: int) -> int:
    return subsystem << 8 | message


def open_netfilter(groups: int = 0) -> Netlink:
    return Netlink(groups, NETLINK_NETFILTER)


def generation(netlink: Netlink) -> int:
    """Of the whole ruleset: one more after every transaction of anybody."""
    return _generation(netlink.query(kind(SUBSYS_NFTABLES, NFT_MSG_GETGEN), genmsg()))


def _generation(payload: bytes) -> int:
    return as_be32(attributes(payload, GENMSG.size)[NFTA_GEN_ID])


def as_notice(kind_: int, payload: bytes) -> tuple[str, int]:
    """The table a notice is about, or (with an empty name) the generation that the notices before it made."""
    if kind_ == kind(SUBSYS_NFTABLES, NFT_MSG_NEWGEN):
        return "", _generation(payload)
    return as_text(attributes(payload, GENMSG.size).get(NFTA_TABLE, b"")), 0


def as_be32(payload: bytes) -> int:
    return int(struct.unpack_from(">I", payload)[0])


def as_be16(payload: bytes) -> int:
    return int(struct.unpack_from(">H", payload)[0])
