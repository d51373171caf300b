"""Every kernel name of one daemon's network, derived from its short id. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re

from zlayer.model.errors import Invalid

OWNER = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}")
SHORT_ID = re.compile(r"[a-z0-9]{1,8}")


def bridge_prefix(short_id: str) -> str:
    """What the names of a daemon's bridges begin with; `prefix*` is all of them, to nftables."""
    return f"zl{short_id}-"


def bridge_name(short_id: str, number: int) -> str:
    """The bridge of network `number`: at most 15 characters, the kernel's limit."""
    return f"{bridge_prefix(short_id)}{number:x}"


def table_name(short_id: str) -> str:
    return f"zlayer_{short_id}"


def veth_name(short_id: str, owner: str) -> str:
    """The host end of an owner's veth: 15 characters, the kernel's limit; the id's first four tell whose it is."""
    digest = hashlib.sha256(f"{short_id}/{owner}".encode()).hexdigest()
    return f"{veth_prefix(short_id)}{digest[:10]}"


def veth_prefix(short_id: str) -> str:
    return f"v{short_id[:4]:0<4}"


def link_group(short_id: str, number: int) -> int:
    """The device group of the veths of network `number`: which bridge each belongs to, when that is gone. Never 0."""
    return (_digest(short_id, 15) or 1) << 16 | number


def numbered(short_id: str, group: int) -> int | None:
    """The network that a device group of this daemon stands for."""
    return group & 0xFFFF if group - (group & 0xFFFF) == link_group(short_id, 0) else None


def claim_priority(short_id: str) -> int:
    """The metric of a daemon's claims: two daemons may claim one range, and each knows its own."""
    return 1 << 20 | _digest(short_id, 31)


def _digest(short_id: str, bits: int) -> int:
    digest = hashlib.sha256(f"zlayer/{short_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> (32 - bits)


def mac_of(address: str) -> str:
    """The MAC that goes with an IPv4 address: an address given again does not leave stale ARP entries behind."""
    return (b"\x02\x7a" + ipaddress.IPv4Address(address).packed).hex(":")


def check_short_id(short_id: str) -> str:
    if not SHORT_ID.fullmatch(short_id):
        raise Invalid(
            f"{short_id!r} cannot name a bridge", hint="use 1 to 8 lower-case letters and digits as the short id"
        )
    return short_id


def check_owner(owner: str) -> str:
    """An owner names a file. Raises `Invalid` for anything that could leave the directory of pins."""
    if not OWNER.fullmatch(owner):
        raise Invalid(
            f"{owner!r} cannot name a network namespace",
            hint="use 1 to 200 letters, digits, '_', '-' and '.', not starting with '.'",
        )
    return owner
