"""`BridgeNetwork`: a Linux bridge per daemon, a veth per instance, masquerade to the outside.

Nothing is remembered here: the pins below `run/netns` and the kernel are the state, so a daemon killed anywhere
simply calls again. Guarantees beyond the contract: `attach` makes a missing bridge first; an address always has the
same MAC; a container reaches its own address through the host (hairpin).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from zlayer.model.errors import Conflict, Exhausted, Failed, Invalid, Unavailable, ZlayerError
from zlayer.network import links, names, netns, nft
from zlayer.network.contract import Attachment
from zlayer.network.netlink import Netlink
from zlayer.network.subnet import overlapping, parse_subnet
from zlayer.network.thread import Host, KernelThread

DEFAULT_MTU = 1500
UNLINKERS = 16
T = TypeVar("T")

NAMESPACE_SYSCTLS = (
    ("net/ipv4/ip_unprivileged_port_start", "0"),  # port 80 without root, as docker allows: nobody else is in there
    ("net/ipv6/conf/default/disable_ipv6", "1"),  # eth0 only: no router solicitations from every instance
)


class BridgeNetwork:
    """Implements `Network`. `run` is the daemon's run directory; `mtu` None takes the default route's.

    `host` is the namespace that plays the host, None for the process's own. Call `close` when done with it.
    """

    def __init__(
        self, short_id: str, run: Path, subnet: str, mtu: int | None = None, *, host: Path | None = None
    ) -> None:
        self._id = names.check_short_id(short_id)
        self._subnet = parse_subnet(subnet)
        self._gateway = str(self._subnet.network_address + 1)
        self._bridge = names.bridge_name(short_id)
        self._pins = run / "netns"
        self._mtu = mtu
        self._thread = KernelThread(host)
        self._aside = ThreadPoolExecutor(UNLINKERS, thread_name_prefix="zlayer-unlink")

    async def ensure(self) -> None:
        await self._call(self._ensure)

    async def attach(self, owner: str, address: str | None) -> Attachment:
        pin = self._pins / names.check_owner(owner)
        if address is not None:
            self._check_address(address)
        await self._call(lambda host: self._attach(host, owner, address))
        return Attachment(owner, pin, address, self._gateway if address else None)

    async def detach(self, owner: str) -> None:
        names.check_owner(owner)
        await self._call(lambda host: self._detach(host, owner))

    async def list(self) -> Sequence[str]:
        return await self._call(lambda _: netns.pinned(self._pins))

    async def destroy(self) -> None:
        await self._call(self._destroy)

    def close(self) -> None:
        """Give the thread and its socket back; everything made stays. The last call."""
        self._thread.close()
        self._aside.shutdown(wait=True)

    async def _call(self, work: Callable[[Host], T]) -> T:
        try:
            return await self._thread.run(work)
        except OSError as error:
            raise _told(error) from error

    def _check_address(self, address: str) -> None:
        try:
            inside = parse_subnet(f"{address}/32").subnet_of(self._subnet)
        except Invalid:
            inside = False
        reserved = {self._gateway, str(self._subnet.network_address), str(self._subnet.broadcast_address)}
        if not inside or address in reserved:
            raise Invalid(
                f"{address} is no address for a container in {self._subnet}",
                hint=f"use one of {self._subnet} other than the first, the last and the bridge's {self._gateway}",
            )

    # below: in the kernel thread

    def _ensure(self, host: Host) -> None:
        self._pins.mkdir(mode=0o700, parents=True, exist_ok=True)
        bridge = self._ensure_bridge(host.netlink)
        netns.set_sysctl("net/ipv4/ip_forward", "1")
        table = names.table_name(self._id)
        nft.ensure(table, nft.ruleset(table, self._bridge, str(self._subnet)))
        ours = {names.veth_name(self._id, owner) for owner in netns.pinned(self._pins)}
        for link in links.links(host.netlink, kind="veth"):
            if link.name in ours and link.master != bridge.index:
                self._plug(host.netlink, link, bridge.index)

    def _ensure_bridge(self, netlink: Netlink) -> links.Link:
        bridge = links.get_link(netlink, self._bridge)
        if bridge is None:
            self._refuse_overlap(netlink)
            mac, mtu = names.mac_of(self._gateway), self._mtu or uplink_mtu(netlink)
            links.add_bridge(netlink, self._bridge, mac=mac, mtu=mtu)
            bridge = links.get_link(netlink, self._bridge)
            assert bridge is not None
        elif not bridge.up:
            links.set_link(netlink, bridge.index)
        wanted = f"{self._gateway}/{self._subnet.prefixlen}"
        present = links.addresses(netlink, bridge.index)
        if wanted not in present:
            links.add_address(netlink, bridge.index, wanted)
        for stale in present - {wanted}:
            links.delete_address(netlink, bridge.index, stale)
        return bridge

    def _refuse_overlap(self, netlink: Netlink) -> None:
        if clash := overlapping(str(self._subnet), host_routes(netlink)):
            raise Conflict(
                f"the host already routes {clash}, which overlaps the container subnet {self._subnet}",
                hint='choose another in config.toml, for example:  [network]  subnet = "10.99.0.0/20"',
            )

    def _attach(self, host: Host, owner: str, address: str | None) -> None:
        bridge = links.get_link(host.netlink, self._bridge)
        if bridge is None:
            self._ensure(host)
            bridge = links.get_link(host.netlink, self._bridge)
            assert bridge is not None
        pin = self._pins / owner
        fresh = not netns.is_pinned(pin)
        if fresh:
            self._pins.mkdir(mode=0o700, parents=True, exist_ok=True)
            netns.create(pin, host.home)
        veth, group = names.veth_name(self._id, owner), names.link_group(self._id)
        with netns.inside(pin, host.home) as namespace, Netlink() as inner:
            for name, value in NAMESPACE_SYSCTLS:
                with suppress(FileNotFoundError):  # a kernel without IPv6
                    netns.set_sysctl(name, value)
            if address is None:
                links.delete_link(host.netlink, veth)
                links.set_link(inner, links.LOOPBACK)
                return
            pair = links.Veth(veth, "eth0", names.mac_of(address), bridge.mtu, group, bridge.index)
            if fresh or not _whole(host.netlink, inner, pair):
                _connect(host.netlink, inner, pair, namespace)
            self._bring_up(host.netlink, inner, pair, address)

    def _bring_up(self, netlink: Netlink, inner: Netlink, pair: links.Veth, address: str) -> None:
        near, far = links.get_link(netlink, pair.name), links.get_link(inner, pair.peer)
        assert near is not None
        assert far is not None
        self._plug(netlink, near, pair.master)
        links.configure(inner, far.index, f"{address}/{self._subnet.prefixlen}", self._gateway)

    @staticmethod
    def _plug(netlink: Netlink, near: links.Link, bridge: int) -> None:
        if near.master != bridge:
            links.enslave(netlink, near.index, bridge)
        links.open_port(netlink, near.index)

    def _detach(self, host: Host, owner: str) -> None:
        veth = links.get_link(host.netlink, names.veth_name(self._id, owner))
        if veth is not None:
            links.delete_link_early(veth.index, self._aside)
        netns.destroy(self._pins / owner)

    def _destroy(self, host: Host) -> None:
        links.delete_group(host.netlink, names.link_group(self._id))
        if self._pins.is_dir():
            for pin in self._pins.iterdir():
                netns.destroy(pin)
            self._pins.rmdir()
        links.delete_link(host.netlink, self._bridge)
        nft.run(nft.removal(names.table_name(self._id)))


def _whole(netlink: Netlink, inner: Netlink, pair: links.Veth) -> bool:
    """Whether the pair is there already; another address has another MAC, hence needs another pair."""
    far = links.get_link(inner, pair.peer)
    return far is not None and far.mac == pair.peer_mac and links.get_link(netlink, pair.name) is not None


def _connect(netlink: Netlink, inner: Netlink, pair: links.Veth, namespace: int) -> None:
    """Make the pair, taking what a crash or another address left out of the way."""
    try:
        links.add_veth(netlink, pair, namespace)
    except FileExistsError:
        links.delete_link(netlink, pair.name)
        links.delete_link(inner, pair.peer)
        links.add_veth(netlink, pair, namespace)


def uplink_mtu(netlink: Netlink) -> int:
    """The MTU of the default route's device, 1500 without one."""
    defaults = [route for route in links.routes(netlink) if route.destination == "0.0.0.0/0"]
    if not defaults:
        return DEFAULT_MTU
    best = min(defaults, key=lambda route: route.priority)
    return next((link.mtu for link in links.links(netlink) if link.index == best.link), DEFAULT_MTU)


def host_routes(netlink: Netlink | None = None, *, besides: str = "") -> list[str]:
    """Destinations the host routes, for `subnet.choose_subnet`; routes over the device `besides` are left out."""
    if netlink is None:
        with Netlink() as own:
            return host_routes(own, besides=besides)
    link = links.get_link(netlink, besides) if besides else None
    skip = link.index if link else -1
    return [route.destination for route in links.routes(netlink) if route.link != skip]


def _told(error: OSError) -> ZlayerError:
    words = error.strerror or str(error)
    if error.errno in {errno.EPERM, errno.EACCES}:
        return Unavailable(
            f"container networking is not permitted here: {words}",
            hint="run the daemon as root, or give it CAP_NET_ADMIN and CAP_SYS_ADMIN",
        )
    if error.errno in {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}:
        return Unavailable(
            f"the kernel cannot make this link: {words}", hint="load the kernel's modules: modprobe bridge veth"
        )
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return Exhausted(
            f"container network: {words}", hint="raise the daemon's limit of open files (ulimit -Hn, LimitNOFILE)"
        )
    return Failed(f"container network: {words}", hint="see the state with: ip link; nft list ruleset")
