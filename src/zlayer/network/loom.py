"""The fabric in the kernel: bridges, rules and reservations brought to what is wanted, and checked against it.

Everything here runs in the kernel thread, one job at a time. What it remembers spares work and is never trusted
further than the kernel's own word: the ruleset's generation says whether anybody has touched it since.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network

from zlayer.model.addressing import address6, block_of
from zlayer.model.errors import Failed
from zlayer.model.fabric import Fabric, Forward, Subnet
from zlayer.network import bridges, conntrack, inet, links, names, netns, nft, rules
from zlayer.network.nfnetlink import generation, open_netfilter
from zlayer.network.reserve import Refusal, Reservations
from zlayer.network.rules import Rules, Site
from zlayer.network.thread import Host
from zlayer.network.watch import Watch


class Loom:
    """One daemon's. `mtu` None takes the default route's when a bridge is made."""

    def __init__(self, site: Site, mtu: int | None, aside: Executor) -> None:
        self._site, self._mtu, self._aside = site, mtu, aside
        self._table = names.table_name(site.id)
        self._fabric: Fabric | None = None
        """What was applied last, without what was refused; None: what an earlier daemon applied is in force."""
        self._known: dict[int, Subnet] = {}
        self._loaded = Rules()
        self._generation = -1
        """The ruleset's when `_loaded` was in force; -1: nobody knows what is."""
        self._own: set[int] = set()
        self._reservations = Reservations()

    def close(self) -> None:
        self._reservations.close()

    def watch(self) -> Watch:
        return Watch(self._site, self._table)

    def ensure(self, host: Host) -> None:
        bridges.ensure_ground(host.netlink, self._site)
        if self._fabric is None and not self._framed():
            self._replace(Rules())

    def _framed(self) -> bool:
        try:
            nft.run(f"list map inet {self._table} ports6")
        except Failed:
            return False
        return True

    # networks

    def bridge(self, host: Host, subnet: Subnet) -> links.Link:
        """The bridge of a network that somebody is about to be attached to."""
        if self._known.get(subnet.number) == subnet:
            found = links.get_link(host.netlink, names.bridge_name(self._site.id, subnet.number))
            if found is not None and found.up:
                return found
        bridges.ensure_ground(host.netlink, self._site)
        made = bridges.ensure(host.netlink, self._site, subnet, self._mtu or bridges.uplink_mtu(host.netlink))
        self._known[subnet.number] = subnet
        if self._fabric is None:
            self._add(rules.membership(self._site, subnet))
        else:
            self._load()
        return made

    def apply(self, host: Host, fabric: Fabric) -> tuple[Refusal, ...]:
        """Why some forwards are not in force; empty when all are."""
        site, netlink = self._site, host.netlink
        bridges.ensure_ground(netlink, site)
        attached = bridges.veths(netlink, site)
        wanted = {subnet.number: subnet for subnet in fabric.subnets}
        here = bridges.present(netlink, site)
        for number in here.keys() - wanted.keys() - attached.keys():
            links.delete_link_early(here[number].index, self._aside)
        self._known = {n: s for n, s in self._known.items() if n in attached} | wanted
        addresses = inet.addresses(netlink)
        mtu = self._mtu or bridges.uplink_mtu(netlink)
        for subnet in self._known.values():
            bridge = bridges.ensure(netlink, site, subnet, mtu, addresses)
            for veth in attached.get(subnet.number, ()):
                if veth.master != bridge.index or not veth.up:
                    bridges.plug(netlink, veth, bridge.index, names.link_group(site.id, subnet.number))
        accepted, refused = self._reservations.take(fabric.forwards)
        before, self._fabric = self._fabric, replace(fabric, forwards=accepted)
        self._open_loopback(accepted)
        self._load()
        self._forget_sessions(before)
        return refused

    def _open_loopback(self, forwards: Iterable[Forward]) -> None:
        """Let the node itself use 127.0.0.1:port: only where a forward needs it, and `guard` keeps containers out."""
        targets = {target.address for forward in forwards for target in forward.targets}
        for subnet in self._known.values():
            opened = any(block_of(subnet, address) is not None for address in targets)
            name = f"net/ipv4/conf/{names.bridge_name(self._site.id, subnet.number)}/route_localnet"
            with suppress(FileNotFoundError):
                netns.set_sysctl(name, "1" if opened else "0")

    # rules

    def _wanted(self) -> Rules:
        fabric = self._fabric or Fabric()
        return rules.build(self._site, replace(fabric, subnets=tuple(self._known.values())))

    def _load(self) -> None:
        after = self._wanted()
        with open_netfilter() as netlink:
            current = generation(netlink)
        if current != self._generation:
            self._replace(after)
            return
        if text := rules.change(self._table, self._loaded, after):
            try:
                self._commit(text)
            except Failed:  # not what we took it for
                self._replace(after)
                return
            self._loaded = after

    def _replace(self, after: Rules) -> None:
        self._commit(nft.removal(self._table) + rules.whole(self._site, self._table, after))
        self._loaded = after

    def _add(self, some: Rules) -> None:
        """Beside what an earlier daemon left in force."""
        try:
            self._commit(rules.additions(self._table, some))
        except Failed:
            self._replace(self._wanted())
        self._generation = -1

    def _commit(self, text: str) -> None:
        """Run it, and know whether it was the only change of the ruleset meanwhile."""
        with open_netfilter() as netlink:
            before = generation(netlink)
            self._generation = -1
            nft.run(text)
            after = generation(netlink)
        if after == before + 1:
            self._own.add(after)
            self._generation = after

    # what others do

    def intact(self, host: Host, touched: Collection[int]) -> bool:
        """Whether all that was applied is there. `touched` are generations at which somebody changed our table."""
        foreign = set(touched) - self._own
        self._own = {one for one in self._own if one >= max(self._own, default=0) - 1000}
        if self._fabric is None:
            return True
        if foreign:
            self._generation = -1
            return False
        netlink, site = host.netlink, self._site
        here, addresses = bridges.present(netlink, site), inet.addresses(netlink)
        for number, subnet in self._known.items():
            bridge = here.get(number)
            if bridge is None or not bridge.up or addresses.get(bridge.index) != bridges.wanted_addresses(subnet):
                return False
        priority = names.claim_priority(site.id)
        claims = {r.destination for r in inet.routes(netlink) if r.unreachable and r.priority == priority}
        if claims != {pool for pool in (site.pool, site.pool6) if pool}:
            return False
        attached = bridges.veths(netlink, site)
        return all(
            veth.up and veth.master == here[number].index
            for number, group in attached.items()
            for veth in group
            if number in here
        )

    def untouched(self, host: Host) -> bool:
        """As `intact`, for a listener that has only just begun to hear: what was done before it nobody told."""
        with open_netfilter() as netlink:
            current = generation(netlink)
        return self.intact(host, () if current == self._generation else (current,))

    def flows(self, host: Host, addresses: Collection[str]) -> dict[str, int]:
        del host  # the socket is opened in its namespace, which this thread is in
        four = {other: one for one in addresses for other in self._both(one)}
        with open_netfilter() as netlink:
            counted = conntrack.count(netlink, four)
        found: dict[str, int] = {}
        for address, number in counted.items():
            found[four[address]] = found.get(four[address], 0) + number
        return found

    def _forget_sessions(self, before: Fabric | None) -> None:
        """Udp has no end: what is sent to a target that left, or past a forward that is new, would go on as it was."""
        assert self._fabric is not None
        new, old = _udp(self._fabric.forwards), _udp(before.forwards) if before is not None else None
        if new == old:
            return
        serving = {(address, one.port) for f in new for one in f.targets for address in self._both(one.address)}
        fresh = {f.port for f in new} - {f.port for f in old or () if f.targets}
        with open_netfilter() as netlink:
            for flow in list(conntrack.flows(netlink, socket.IPPROTO_UDP)):
                left = flow.forwarded and self._pooled(flow.server) and (flow.server, flow.server_port) not in serving
                if left or (flow.plain and flow.port in fresh):
                    conntrack.forget(netlink, flow)

    def _both(self, address: str) -> list[str]:
        return [address, *(found for s in self._known.values() if (found := address6(s, address)))]

    def _pooled(self, address: str) -> bool:
        pool = self._site.pool6 if ":" in address else self._site.pool
        return bool(pool) and ip_address(address) in ip_network(pool)

    def destroy(self, host: Host) -> None:
        """Links, rules and claims: gone, and nothing is known any more."""
        netlink, site = host.netlink, self._site
        others = {one.group for one in links.links(netlink) if not one.name.startswith(names.veth_prefix(site.id))}
        for number, veths in bridges.veths(netlink, site).items():
            group = names.link_group(site.id, number)
            if group not in others:
                links.delete_group(netlink, group)
            for veth in veths:
                links.delete_link(netlink, veth.name)
        for bridge in bridges.present(netlink, site).values():
            links.delete_link(netlink, bridge.name)
        nft.run(nft.removal(self._table))
        priority = names.claim_priority(site.id)
        for route in inet.routes(netlink):
            if route.unreachable and route.priority == priority:
                inet.disclaim(netlink, route.destination, priority)
        self._reservations.close()
        self._fabric, self._known, self._loaded, self._generation = None, {}, Rules(), -1


def _udp(forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    return tuple(forward for forward in forwards if forward.transport == "udp")
