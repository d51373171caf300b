"""Ports of the node that are forwarded, held by bound sockets: a program that has one is found, one that wants it told.

The kernel rewrites packets before any socket sees them, so without this a published port would silently take the
traffic of a program that listens on it. A socket that is bound and does not listen receives nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from zlayer.model.fabric import Forward, Transport
from zlayer.network.rules import EVERYWHERE

Key = tuple[Transport, str, int]
LISTEN = "0A"


class Reservations:
    """Used in one thread, whose network namespace is the host's."""

    def __init__(self) -> None:
        self._held: dict[Key, list[socket.socket]] = {}

    def take(self, forwards: Iterable[Forward]) -> tuple[tuple[Forward, ...], tuple[str, ...]]:
        """Those that are ours now, and why each of the others is not. What is not among them is let go."""
        wanted = {_key(one): one for one in sorted(forwards, key=lambda one: one.address)}
        for key in self._held.keys() - wanted.keys():
            _close(self._held.pop(key))
        refused: list[str] = []
        for key, forward in wanted.items():
            try:
                self._reserve(key, forward)
            except OSError as error:
                refused.append(_why(forward, error))
        return tuple(one for key, one in wanted.items() if key in self._held), tuple(refused)

    def _reserve(self, key: Key, forward: Forward) -> None:
        """A port of every address covers the same port of one; those come after it."""
        transport, address, port = key
        if address and (transport, "", port) in self._held:
            _close(self._held.pop(key, []))
            self._held[key] = []
        elif not self._held.get(key):
            if not address:
                for other in [k for k in self._held if (k[0], k[2]) == (transport, port)]:
                    _close(self._held.pop(other))
            self._held.pop(key, None)
            self._held[key] = _bind(forward)

    def close(self) -> None:
        for sockets in self._held.values():
            _close(sockets)
        self._held.clear()


def _key(forward: Forward) -> Key:
    return forward.transport, "" if forward.address in EVERYWHERE else forward.address, forward.port


def _close(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _bind(forward: Forward) -> list[socket.socket]:
    if forward.address not in EVERYWHERE:
        family = socket.AF_INET6 if ":" in forward.address else socket.AF_INET
        return [_bound(family, forward.transport, forward.address, forward.port)]
    if socket.has_ipv6:
        with suppress(OSError):
            # an empty IPv6 socket takes both families; where IPv6 is off, IPv4 alone says what the trouble is
            return [_bound(socket.AF_INET6, forward.transport, "::", forward.port)]
    return [_bound(socket.AF_INET, forward.transport, "0.0.0.0", forward.port)]


def _bound(family: int, transport: Transport, address: str, port: int) -> socket.socket:
    made = socket.socket(
        family, (socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM) | socket.SOCK_CLOEXEC
    )
    try:
        if family == socket.AF_INET6 and address == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if transport == "tcp":  # past connections in TIME_WAIT do not count; a listener does
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        made.close()
        raise
    return made


def _why(forward: Forward, error: OSError) -> str:
    where = f"{forward.transport} port {forward.port}" + (f" of {forward.address}" if forward.address else "")
    if error.errno == errno.EADDRINUSE:
        holder = next(_holders(forward.transport, forward.port), "another program")
        return f"{where} is in use by {holder}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: the node has no such address"
    return f"{where}: {error.strerror}"


def _holders(transport: Transport, port: int) -> Iterator[str]:
    """Programs of this machine with a socket on the port, as `nginx (pid 12)`."""
    inodes = set(_inodes(transport, port))
    for entry in os.listdir("/proc"):  # noqa: PTH208 (names only)
        if not entry.isdigit():
            continue
        with suppress(OSError):
            if any(_link(file) in inodes for file in Path(f"/proc/{entry}/fd").iterdir()):
                yield f"{Path(f'/proc/{entry}/comm').read_text().strip()} (pid {entry})"


def _link(file: Path) -> str:
    """Empty when it has been closed meanwhile, as the one that listed it has."""
    try:
        return str(file.readlink())
    except OSError:
        return ""


def _inodes(transport: Transport, port: int) -> Iterator[str]:
    for family in ("", "6"):
        with suppress(OSError):
            for line in Path(f"/proc/thread-self/net/{transport}{family}").read_text().splitlines()[1:]:
                parts = line.split()
                local = int(parts[1].rpartition(":")[2], 16)
                if local == port and (transport == "udp" or parts[3] == LISTEN) and parts[9] != "0":
                    yield f"socket:[{parts[9]}]"
