"""Whether an address is free for us to listen on. HAProxy refuses to start at all when one is not, so we ask first."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from zlayer.proxy.haproxy.structure import EVERY, Door

Bind = tuple[str, int]
Who = Callable[[int], str]
"""Whoever listens at a port, such as `nginx (pid 12)`."""
IN_USE = "in use"
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a door cannot have one of its addresses, which is part of `reason`."""

    door: str
    reason: str

    def __str__(self) -> str:
        return self.reason


def somebody(_port: int) -> str:
    return "another program"


def listening(port: int) -> set[str]:
    """The addresses on which anybody here listens at this port (proc(5), /proc/net/tcp)."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state = line.split()[:4]
            address, _, number = local.partition(":")
            if state == _LISTEN and int(number, 16) == port:
                found.add(_address(address))
    return found


def _address(words: str) -> str:
    """Words of 32 bits in the machine's order, in hex."""
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return str(ipaddress.ip_address(raw))


def open_doors(
    doors: Iterable[Door], ours: Collection[Bind], who: Who = somebody
) -> tuple[tuple[Door, ...], tuple[Refusal, ...]]:
    """Doors with the addresses that can be had, and why the others cannot. `ours` are held by our engine already.

    An address of the node may have a listener beside the one on every address: the kernel prefers the closer one.
    A machine without IPv6 has no `::`, which is no fault of a listener on every address.
    """
    found: list[Door] = []
    refusals: list[Refusal] = []
    taken: dict[Bind, str] = {}
    for door in doors:
        free: list[str] = []
        for bind in door.binds:
            reason = _clash(bind, taken) or ("" if bind in ours else refusal(bind, ours))
            if not reason:
                free.append(bind[0])
                taken[bind] = door.name
            elif not (bind[0] == EVERY[1] and EVERY[0] in door.addresses and not has_ipv6()):
                told = f"{IN_USE} by {who(bind[1])}" if reason == IN_USE else reason
                refusals.append(Refusal(door.name, f"{show(bind)}: {told}"))
        if free:
            found.append(replace(door, addresses=tuple(free)))
    return tuple(found), tuple(refusals)


def _clash(bind: Bind, taken: dict[Bind, str]) -> str:
    return f"listener {taken[bind]} has it already" if bind in taken else ""


def refusal(bind: Bind, ours: Collection[Bind] = ()) -> str:
    """Why we cannot listen there, beside what we have; empty when we can."""
    address, port = bind
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in address:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "" if ours and listening(port) <= {address for address, held in ours if held == port} else IN_USE
        return error.strerror or str(error)
    return ""


def has_ipv6() -> bool:
    return not refusal(("::1", 0)) or not refusal(("::", 0))


def show(bind: Bind) -> str:
    address, port = bind
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
