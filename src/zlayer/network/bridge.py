"""`BridgeNetwork`: a Linux bridge per deployment, a veth per instance, one nftables table between them and the world.

What is remembered here is only what was applied last, to change as little as may be; the pins below `run/netns` and
the kernel are the state, so a daemon killed anywhere simply calls again. Guarantees beyond the contract: an address
always has the same MAC; a container reaches its own address through the host (hairpin).
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from zlayer.model.addressing import address6, block_of, gateway, network4
from zlayer.model.errors import Conflict, Exhausted, Failed, Invalid, NotFound, Problem, Unavailable, ZlayerError
from zlayer.model.fabric import Fabric, Subnet
from zlayer.network import bridges, inet, links, names, netns
from zlayer.network.contract import Attachment
from zlayer.network.loom import Loom
from zlayer.network.netlink import Netlink
from zlayer.network.rules import Site
from zlayer.network.subnet import parse_subnet
from zlayer.network.thread import Host, KernelThread
from zlayer.network.watch import Watch

UNLINKERS = 16
SETTLE = 0.01
"""Seconds after a first notice in which the rest of a change arrives: one look for all of it."""
REST = 10
"""How many times longer than a look took the next one waits: our own changes stir it too, and it looks at all links."""
T = TypeVar("T")

NAMESPACE_SYSCTLS = (
    ("net/ipv4/ip_unprivileged_port_start", "0"),  # port 80 without root, as docker allows: nobody else is in there
)
WITHOUT_IPV6 = (("net/ipv6/conf/default/disable_ipv6", "1"),)
WITH_IPV6 = (("net/ipv6/conf/default/accept_ra", "0"),)  # eth0 only, and its address is given


class BridgeNetwork:
    """Implements `Network`. `run` is the daemon's run directory; `mtu` None takes the default route's.

    `host` is the namespace that plays the host, None for the process's own. Call `close` when done with it.
    """

    def __init__(self, site: Site, run: Path, mtu: int | None = None, *, host: Path | None = None) -> None:
        names.check_short_id(site.id)
        parse_subnet(site.pool)
        self._site = site
        self._pins = run / "netns"
        self._thread = KernelThread(host)
        self._aside = ThreadPoolExecutor(UNLINKERS, thread_name_prefix="zlayer-unlink")
        self._loom = Loom(site, mtu, self._aside)
        self._watch: Watch | None = None

    async def ensure(self) -> None:
        await self._call(self._loom.ensure)

    async def apply(self, fabric: Fabric) -> None:
        taken = await self._call(lambda host: self._loom.apply(host, fabric))
        if taken:
            raise Conflict(
                "; ".join(map(str, taken)),
                hint="stop that program, or publish another port (host_port 0: the node picks one)",
                problems=tuple(Problem(one.reason, path=one.owner, kind="Taken") for one in taken),
            )

    async def attach(self, owner: str, address: str | None, subnet: Subnet | None = None) -> Attachment:
        pin = self._pins / names.check_owner(owner)
        if address is None or subnet is None:
            if address is not None:
                raise Invalid(f"{address} is of no network", hint="give the subnet the address is in")
            await self._call(lambda host: self._isolate(host, owner))
            return Attachment(owner, pin, None, None)
        check_address(subnet, address)
        await self._call(lambda host: self._attach(host, owner, address, subnet))
        gateway6 = gateway(subnet.blocks6[0]) if subnet.blocks6 else None
        return Attachment(owner, pin, address, gateway(subnet.blocks[0]), address6(subnet, address), gateway6)

    async def join(self, owner: str) -> Attachment:
        pin = self._pins / names.check_owner(owner)
        if not await self._call(lambda _: netns.is_pinned(pin)):
            raise NotFound(f"{owner} has no network to share", hint="it must run: zlayer ps -c")
        return Attachment(owner, pin, None, None)

    async def detach(self, owner: str) -> None:
        names.check_owner(owner)
        await self._call(lambda host: self._detach(host, owner))

    async def list(self) -> Sequence[str]:
        return await self._call(lambda _: netns.pinned(self._pins))

    async def destroy(self) -> None:
        await self._call(self._destroy)

    async def flows(self, addresses: Collection[str]) -> Mapping[str, int]:
        return await self._call(lambda host: self._loom.flows(host, addresses))

    async def disturbed(self) -> None:
        if self._watch is None:
            self._watch = await self._call(lambda _: self._loom.watch())
            if not await self._call(self._loom.untouched):
                return
        watch, settle = self._watch, SETTLE
        while True:
            await watch.stirred()
            await asyncio.sleep(settle)
            began = time.monotonic()
            if not await self._call(partial(self._loom.intact, touched=watch.take())):
                return
            settle = max(SETTLE, REST * (time.monotonic() - began))

    def close(self) -> None:
        """Give the thread and its sockets back; everything made stays. The last call."""
        if self._watch is not None:
            self._watch.close()
        self._thread.close()
        self._loom.close()
        self._aside.shutdown(wait=True)

    async def _call(self, work: Callable[[Host], T]) -> T:
        try:
            return await self._thread.run(work)
        except OSError as error:
            raise _told(error) from error

    # below: in the kernel thread

    def _pin(self, host: Host, owner: str) -> bool:
        """The owner's namespace, made if need be; True when it was."""
        pin = self._pins / owner
        if netns.is_pinned(pin):
            return False
        self._pins.mkdir(mode=0o700, parents=True, exist_ok=True)
        netns.create(pin, host.home)
        return True

    def _isolate(self, host: Host, owner: str) -> None:
        self._pin(host, owner)
        with netns.inside(self._pins / owner, host.home), Netlink() as inner:
            _set(*NAMESPACE_SYSCTLS, *WITHOUT_IPV6)
            links.delete_link(host.netlink, names.veth_name(self._site.id, owner))
            links.set_link(inner, links.LOOPBACK)

    def _attach(self, host: Host, owner: str, address: str, subnet: Subnet) -> None:
        bridge = self._loom.bridge(host, subnet)
        fresh = self._pin(host, owner)
        block = block_of(subnet, address)
        assert block is not None
        own = [f"{address}/{network4(subnet.blocks[block]).prefixlen}"]
        via = [gateway(subnet.blocks[block])]
        if (other := address6(subnet, address)) is not None:
            own.append(f"{other}/64")
            via.append(gateway(subnet.blocks6[block]))
        veth, group = names.veth_name(self._site.id, owner), names.link_group(self._site.id, subnet.number)
        with netns.inside(self._pins / owner, host.home) as namespace, Netlink() as inner:
            _set(*NAMESPACE_SYSCTLS, *(WITH_IPV6 if other is not None else WITHOUT_IPV6))
            pair = links.Veth(veth, "eth0", names.mac_of(address), bridge.mtu, group, bridge.index)
            if fresh or not _whole(host.netlink, inner, pair):
                _connect(host.netlink, inner, pair, namespace)
            near, far = links.get_link(host.netlink, pair.name), links.get_link(inner, pair.peer)
            assert near is not None
            assert far is not None
            bridges.plug(host.netlink, near, bridge.index, group)
            inet.configure(inner, far.index, own, via)

    def _detach(self, host: Host, owner: str) -> None:
        veth = links.get_link(host.netlink, names.veth_name(self._site.id, owner))
        if veth is not None:
            links.delete_link_early(veth.index, self._aside)
        netns.destroy(self._pins / owner)

    def _destroy(self, host: Host) -> None:
        self._loom.destroy(host)
        if self._pins.is_dir():
            for pin in self._pins.iterdir():
                netns.destroy(pin)
            self._pins.rmdir()


def check_address(subnet: Subnet, address: str) -> None:
    """Raises `Invalid` for anything that is no container's address in the subnet."""
    try:
        number = block_of(subnet, address)
    except ValueError:
        number = None
    reserved: set[str] = set()
    if number is not None:
        block = network4(subnet.blocks[number])
        reserved = {gateway(str(block)), str(block.network_address), str(block.broadcast_address)}
    if number is None or str(ip_address(address)) in reserved:
        raise Invalid(
            f"{address} is no address for a container in {', '.join(subnet.blocks)}",
            hint="use one of these blocks, other than its first, its second (the bridge's) and its last",
        )


def _set(*sysctls: tuple[str, str]) -> None:
    for name, value in sysctls:
        with suppress(FileNotFoundError):  # a kernel without IPv6
            netns.set_sysctl(name, value)


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
