"""Ports of the node that are forwarded, held by bound sockets: a program that has one is found, one that wants it told.

The kernel rewrites packets before any socket sees them, so without this a published port would silently take the
traffic of a program that listens on it. A socket that is bound and does not listen receives nothing.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from zlayer.model.fabric import Forward, Transport
from zlayer.network.holders import holder
from zlayer.network.rules import EVERYWHERE

Key = tuple[Transport, str, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`owner` is the forward's. `str()` says why it cannot be had."""

    owner: str
    reason: str

    def __str__(self) -> str:
        return self.reason


class Reservations:
    """Used in one thread, whose network namespace is the host's."""

    def __init__(self) -> None:
        self._held: dict[Key, list[socket.socket]] = {}

    def take(self, forwards: Iterable[Forward]) -> tuple[tuple[Forward, ...], tuple[Refusal, ...]]:
        """Those that are ours now, and why each of the others is not. What is not among them is let go."""
        wanted = {_key(one): one for one in sorted(forwards, key=lambda one: one.address)}
        for key in self._held.keys() - wanted.keys():
            _close(self._held.pop(key))
        refused: list[Refusal] = []
        for key, forward in wanted.items():
            try:
                self._reserve(key, forward)
            except OSError as error:
                refused.append(Refusal(forward.owner, _why(forward, error)))
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
        return f"{where} is in use by {holder(forward.transport, forward.port)}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: the node has no such address"
    return f"{where}: {error.strerror}"
