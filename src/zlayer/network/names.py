"""Every kernel name of one daemon's network, derived from its short id. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re

from zlayer.model.errors import Invalid

OWNER = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}")
SHORT_ID = re.compile(r"[a-z0-9]{1,12}")


def bridge_name(short_id: str) -> str:
    return f"zl{short_id}"


def table_name(short_id: str) -> str:
    return f"zlayer_{short_id}"


def veth_name(short_id: str, owner: str) -> str:
    """The host end of an owner's veth: 15 characters, the kernel's limit; the id's first four tell whose it is."""
    digest = hashlib.sha256(f"{short_id}/{owner}".encode()).hexdigest()
    return f"v{short_id[:4]:0<4}{digest[:10]}"


def link_group(short_id: str) -> int:
    """The device group of a daemon's veths, so that all of them can be deleted in one call. Never 0 (the default)."""
    digest = hashlib.sha256(f"zlayer/{short_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF | 1


def mac_of(address: str) -> str:
    """The MAC that goes with an IPv4 address: an address given again does not leave stale ARP entries behind."""
    return (b"\x02\x7a" + ipaddress.IPv4Address(address).packed).hex(":")


def check_short_id(short_id: str) -> str:
    if not SHORT_ID.fullmatch(short_id):
        raise Invalid(
            f"{short_id!r} cannot name a bridge", hint="use 1 to 12 lower-case letters and digits as the short id"
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
