"""Hearing that somebody changes links, addresses, routes or rules of ours: rtnetlink and nfnetlink multicasts.

What is heard only says "look": our own changes are heard too, so whoever listens compares with what there should be.
Formats: rtnetlink(7), linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_network

from zlayer.network import inet, links, names
from zlayer.network.netlink import HEADER, attributes
from zlayer.network.nfnetlink import NETLINK_NETFILTER, RTNLGRP_NFTABLES, as_notice
from zlayer.network.rules import Site

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = (
    0x1,
    0x10,
    0x40,
    0x100,
    0x400,
)
GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
DATAGRAM = 65536
BUFFER = 1 << 20
LULL = 1.0
"""Seconds between something that happened to a veth and the look at it."""


class Watch:
    """Opened in the calling thread's network namespace, read in the event loop. `close` it."""

    def __init__(self, site: Site, table: str) -> None:
        self.generations: set[int] = set()
        """Of the ruleset, at which our table was touched by somebody, since someone last took the set."""
        self._table = table
        self._bridge, self._veth = names.bridge_prefix(site.id), names.veth_prefix(site.id)
        self._pools = [ip_network(pool) for pool in (site.pool, site.pool6) if pool]
        self._touched = False
        self._heard = asyncio.Event()
        self._sockets = [_listen(socket.NETLINK_ROUTE, GROUPS), _listen(NETLINK_NETFILTER, 1 << (RTNLGRP_NFTABLES - 1))]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lull: asyncio.TimerHandle | None = None

    async def stirred(self) -> None:
        """Returns when something of ours may have been changed since the last call."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for one, read in zip(self._sockets, (self._routes, self._rules), strict=True):
                self._loop.add_reader(one, read)
        await self._heard.wait()
        self._heard.clear()

    def take(self) -> set[int]:
        taken, self.generations = self.generations, set()
        return taken

    def close(self) -> None:
        if self._lull is not None:
            self._lull.cancel()
        for one in self._sockets:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(one)
            one.close()

    def _routes(self) -> None:
        for kind, payload in self._read(self._sockets[0]):
            if kind in (links.RTM_NEWLINK, links.RTM_DELLINK):
                name = links.name_in(payload)
                if name.startswith(self._veth):
                    self._later()
                elif name.startswith(self._bridge):
                    self._heard.set()
            elif self._concerns(kind, payload):
                self._heard.set()

    def _later(self) -> None:
        """Veths come and go with every container, mostly by our own doing: one look for many."""
        if self._lull is None and self._loop is not None:
            self._lull = self._loop.call_later(LULL, self._hear)

    def _hear(self) -> None:
        self._lull = None
        self._heard.set()

    def _concerns(self, kind: int, payload: bytes) -> bool:
        match kind:
            case inet.RTM_DELROUTE:
                route = inet.as_route(payload)
                return route is not None and self._inside(route.destination)
            case inet.RTM_DELADDR | inet.RTM_NEWADDR:
                parts = attributes(payload, inet.IFADDR.size)
                local = parts.get(inet.IFA_LOCAL) or parts.get(inet.IFA_ADDRESS, b"")
                return bool(local) and self._inside(socket.inet_ntop(_family(local), local))
            case _:
                return False

    def _inside(self, destination: str) -> bool:
        wanted = ip_network(destination)
        return any(wanted.version == pool.version and wanted.overlaps(pool) for pool in self._pools)

    def _rules(self) -> None:
        for kind, payload in self._read(self._sockets[1]):
            table, generation = as_notice(kind, payload)
            if table:
                self._touched = self._touched or table == self._table
            elif self._touched:
                self._touched = False
                self.generations.add(generation)
                self._heard.set()

    def _read(self, one: socket.socket) -> Iterator[tuple[int, bytes]]:
        while True:
            try:
                data = one.recv(DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.generations.add(-1)  # missed some: as good as touched
                self._heard.set()
                continue
            offset = 0
            while offset + HEADER.size <= len(data):
                size, kind, _, _, _ = HEADER.unpack_from(data, offset)
                if size < HEADER.size:
                    break
                yield kind, data[offset + HEADER.size : offset + size]
                offset += (size + 3) & ~3


def _family(address: bytes) -> int:
    return socket.AF_INET6 if len(address) == 16 else socket.AF_INET


def _listen(protocol: int, groups: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.bind((0, groups))
    return made
