"""The bridges of one daemon and the ground under them: made, mended, found and taken away. For the kernel thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from zlayer.model.addressing import gateway
from zlayer.model.errors import Conflict
from zlayer.model.fabric import Subnet
from zlayer.network import inet, links, names, netns
from zlayer.network.netlink import Netlink
from zlayer.network.rules import Site
from zlayer.network.subnet import overlapping

DEFAULT_MTU = 1500


def ensure_ground(netlink: Netlink, site: Site) -> None:
    """The pool claimed and forwarding on. Raises `Conflict` when a route of the host covers an unclaimed pool."""
    netns.set_sysctl("net/ipv4/ip_forward", "1")
    if site.pool6:
        _forward6()
    priority = names.claim_priority(site.id)
    present = inet.routes(netlink)
    claimed = {route.destination for route in present if route.unreachable and route.priority == priority}
    for pool in filter(None, (site.pool, site.pool6)):
        if pool not in claimed:
            _refuse_overlap(pool, foreign(netlink, site, present))
            inet.claim(netlink, pool, priority)
    for stale in claimed - {site.pool, site.pool6}:
        inet.disclaim(netlink, stale, priority)


def _forward6() -> None:
    """A host that forwards ignores router advertisements, and would lose its own default route: ask for them still."""
    with suppress(FileNotFoundError):
        if Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text().strip() == "1":
            return
        for file in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
            if file.read_text().strip() == "1":
                netns.set_sysctl(str(file.relative_to("/proc/sys")), "2")
        netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")


def _refuse_overlap(pool: str, routes: Iterable[str]) -> None:
    if clash := overlapping(pool, routes):
        key = "ipv6 = false" if ":" in pool else 'subnet = "10.99.0.0/17"'
        raise Conflict(
            f"the host already routes {clash}, which overlaps the container pool {pool}",
            hint=f"choose another in config.toml, for example:  [network]  {key}",
        )


def foreign(netlink: Netlink, site: Site, routes: Iterable[inet.Route] | None = None) -> list[str]:
    """Destinations that others on this host route, both families."""
    own = {link.index for link in links.links(netlink, kind="bridge") if _number(site, link.name) is not None}
    found = inet.routes(netlink) if routes is None else routes
    priority = names.claim_priority(site.id)
    return [r.destination for r in found if r.link not in own and not (r.unreachable and r.priority == priority)]


def present(netlink: Netlink, site: Site) -> dict[int, links.Link]:
    """Bridges by the number of their network."""
    found = ((_number(site, link.name), link) for link in links.links(netlink, kind="bridge"))
    return {number: link for number, link in found if number is not None}


def _number(site: Site, name: str) -> int | None:
    prefix = names.bridge_prefix(site.id)
    if not name.startswith(prefix):
        return None
    try:
        return int(name.removeprefix(prefix), 16)
    except ValueError:
        return None


def wanted_addresses(subnet: Subnet) -> set[str]:
    """The bridge's: a gateway in every block."""
    return {f"{gateway(one)}/{ip_network(one).prefixlen}" for one in (*subnet.blocks, *subnet.blocks6)}


def ensure(
    netlink: Netlink, site: Site, subnet: Subnet, mtu: int, addresses: Mapping[int, set[str]] | None = None
) -> links.Link:
    """The bridge of a network, up, with its addresses and no others. `addresses` are all links', if known."""
    name = names.bridge_name(site.id, subnet.number)
    bridge = links.get_link(netlink, name)
    if bridge is None:
        links.add_bridge(netlink, name, mac=names.mac_of(gateway(subnet.blocks[0])), mtu=mtu)
        bridge = links.get_link(netlink, name)
        assert bridge is not None
        addresses = {}
    elif not bridge.up:
        links.set_link(netlink, bridge.index)
        addresses = None  # IPv6 ones went with it
    there = (inet.addresses(netlink) if addresses is None else addresses).get(bridge.index, set())
    wanted = wanted_addresses(subnet)
    for stale in there - wanted:
        inet.delete_address(netlink, bridge.index, stale)
    for missing in sorted(wanted - there):
        inet.add_address(netlink, bridge.index, missing)
    return bridge


def plug(netlink: Netlink, near: links.Link, bridge: int, group: int) -> None:
    """Make a veth a port of its bridge, marked as of its network, and open."""
    if near.master != bridge or near.group != group:
        links.enslave(netlink, near.index, bridge, group)
    links.open_port(netlink, near.index)


def veths(netlink: Netlink, site: Site) -> dict[int, list[links.Link]]:
    """The host ends of this daemon's veths, by the number of the network they belong to."""
    found: dict[int, list[links.Link]] = {}
    for link in links.links(netlink, kind="veth"):
        number = names.numbered(site.id, link.group)
        if number is not None and link.name.startswith(names.veth_prefix(site.id)):
            found.setdefault(number, []).append(link)
    return found


def uplink_mtu(netlink: Netlink) -> int:
    """The MTU of the default route's device, 1500 without one."""
    defaults = [route for route in inet.routes(netlink) if route.destination == "0.0.0.0/0" and not route.unreachable]
    if not defaults:
        return DEFAULT_MTU
    best = min(defaults, key=lambda route: route.priority)
    return next((link.mtu for link in links.links(netlink) if link.index == best.link), DEFAULT_MTU)
