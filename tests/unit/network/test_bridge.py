"""What the bridge driver leaves in the kernel, and how it mends what it finds. Traffic is in tests/integration."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from zlayer.model.errors import Conflict, Failed, Unavailable
from zlayer.model.fabric import Fabric, Subnet
from zlayer.network import bridge, inet, links, names, nft
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.bridges import foreign, uplink_mtu
from zlayer.network.netlink import Netlink
from zlayer.network.rules import Site
from zlayer.testing.netns import run_inside

pytestmark = [pytest.mark.anyio, pytest.mark.root]

ID, POOL, ADDRESS, OWNER = "c0ffee12", "10.71.0.0/17", "10.71.0.2", "shop-web-0-aa"
SITE = Site(ID, POOL, "fd7a:7100::/48")
SHOP = Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
FABRIC = Fabric(1, (SHOP,))
BRIDGE, TABLE, VETH = names.bridge_name(ID, 0), names.table_name(ID), names.veth_name(ID, OWNER)


@pytest.fixture
async def network(host: Path, directory: Path) -> AsyncIterator[BridgeNetwork]:
    made = BridgeNetwork(SITE, directory, host=host)
    try:
        yield made
    finally:
        await made.destroy()
        made.close()


def link(host: Path, name: str) -> links.Link | None:
    def body() -> links.Link | None:
        with Netlink() as netlink:
            return links.get_link(netlink, name)

    return run_inside(host, body)


def on_host(host: Path, work: Callable[[Netlink], object]) -> None:
    def body() -> None:
        with Netlink() as netlink:
            work(netlink)

    run_inside(host, body)


def assert_whole(host: Path, netns: Path, address: str = ADDRESS) -> None:
    """Everything an attachment is made of is there."""
    master, near, far = link(host, BRIDGE), link(host, VETH), link(netns, "eth0")
    assert master is not None
    assert near is not None
    assert far is not None
    assert (near.master, near.up, far.up, far.mac) == (master.index, True, True, names.mac_of(address))

    def body() -> tuple[set[str], bool]:
        with Netlink() as netlink:
            lo = links.get_link(netlink, "lo")
            default = any(r.destination == "0.0.0.0/0" for r in inet.routes(netlink))
            return inet.addresses(netlink)[far.index], default and lo is not None and lo.up

    assert run_inside(netns, body) == ({f"{address}/26", f"fd7a:7100::{address.rpartition('.')[2]}/64"}, True)
    show = ["ip", "-d", "link", "show", VETH]
    shown = run_inside(host, lambda: subprocess.run(show, capture_output=True, text=True, check=True).stdout)
    assert "hairpin on" in shown
    assert "addrgenmode none" in shown


async def test_attach_is_whole_and_detach_leaves_nothing(network: BridgeNetwork, host: Path, directory: Path) -> None:
    got = await network.attach(OWNER, ADDRESS, SHOP)
    assert_whole(host, got.netns)
    await network.detach(OWNER)
    assert link(host, VETH) is None
    assert list((directory / "netns").iterdir()) == []
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()


async def test_an_isolated_one_has_only_loopback(network: BridgeNetwork, host: Path) -> None:
    got = await network.attach(OWNER, None)
    lo = link(got.netns, "lo")
    assert lo is not None
    assert lo.up
    assert (link(got.netns, "eth0"), link(host, VETH)) == (None, None)


async def test_an_address_taken_away_or_changed_takes_the_pair_along(network: BridgeNetwork, host: Path) -> None:
    got = await network.attach(OWNER, ADDRESS, SHOP)
    await network.attach(OWNER, "10.71.0.9", SHOP)
    assert_whole(host, got.netns, "10.71.0.9")
    await network.attach(OWNER, None)
    assert (link(got.netns, "eth0"), link(host, VETH)) == (None, None)


async def test_apply_brings_a_deleted_bridge_and_its_ports_back(network: BridgeNetwork, host: Path) -> None:
    got = await network.attach(OWNER, ADDRESS, SHOP)
    on_host(host, lambda netlink: links.delete_link(netlink, BRIDGE))
    await network.apply(FABRIC)
    assert_whole(host, got.netns)


async def test_apply_mends_addresses_state_rules_claims_and_forwarding(network: BridgeNetwork, host: Path) -> None:
    await network.apply(FABRIC)
    made = link(host, BRIDGE)
    assert made is not None

    def harm(netlink: Netlink) -> None:
        inet.delete_address(netlink, made.index, "10.71.0.1/26")
        inet.add_address(netlink, made.index, "10.99.0.1/24")
        links.set_link(netlink, made.index, up=False)
        inet.disclaim(netlink, POOL, names.claim_priority(ID))
        nft.run(nft.removal(TABLE))
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")

    def state() -> tuple[set[str], bool, list[str], str, str]:
        with Netlink() as netlink:
            found = links.get_link(netlink, BRIDGE)
            assert found is not None
            claims = sorted(r.destination for r in inet.routes(netlink) if r.unreachable)
            forward = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
            return inet.addresses(netlink)[found.index], found.up, claims, forward, nft.run(f"list table inet {TABLE}")

    before = run_inside(host, state)
    assert before[:4] == ({"10.71.0.1/26", "fd7a:7100::1/64"}, True, [POOL, "fd7a:7100::/48"], "1")
    on_host(host, harm)
    await network.apply(FABRIC)
    assert run_inside(host, state) == before


async def test_a_bridge_stays_while_somebody_is_attached_and_goes_with_the_next_apply(
    network: BridgeNetwork, host: Path
) -> None:
    await network.attach(OWNER, ADDRESS, SHOP)
    await network.apply(Fabric())
    assert link(host, BRIDGE) is not None
    await network.detach(OWNER)
    await network.apply(Fabric())
    assert link(host, BRIDGE) is None


async def test_a_network_gets_a_block_more_while_it_lives(network: BridgeNetwork, host: Path) -> None:
    await network.attach(OWNER, ADDRESS, SHOP)
    larger = Subnet("shop", 0, (*SHOP.blocks, "10.71.1.0/26"), (*SHOP.blocks6, "fd7a:7100:0:4::/64"))
    got = await network.attach("second", "10.71.1.2", larger)
    assert (got.gateway, got.address6) == ("10.71.0.1", "fd7a:7100:0:4::2")
    made = link(host, BRIDGE)
    assert made is not None

    def addresses() -> set[str]:
        with Netlink() as netlink:
            return inet.addresses(netlink)[made.index]

    wanted = {"10.71.0.1/26", "10.71.1.1/26", "fd7a:7100::1/64", "fd7a:7100:0:4::1/64"}
    assert run_inside(host, addresses) == wanted


async def test_a_new_daemon_leaves_the_rules_in_force_until_it_knows_better(
    network: BridgeNetwork, host: Path, directory: Path
) -> None:
    def table() -> str:
        return run_inside(host, lambda: nft.run(f"list table inet {TABLE}"))

    await network.apply(FABRIC)
    before = table()
    again = BridgeNetwork(SITE, directory, host=host)
    try:
        await again.ensure()
        assert table() == before
        await again.attach("other", "10.71.0.66", Subnet("blog", 1, ("10.71.0.64/26",)))
        assert "10.71.0.1" in table()
        assert "10.71.0.65" in table()
        await again.apply(FABRIC)
    finally:
        again.close()


async def test_a_dead_pin_of_before_a_reboot_is_used_again(network: BridgeNetwork, host: Path, directory: Path) -> None:
    (directory / "netns").mkdir()
    (directory / "netns" / OWNER).touch()
    assert list(await network.list()) == []
    got = await network.attach(OWNER, ADDRESS, SHOP)
    assert_whole(host, got.netns)


async def test_the_bridge_takes_the_uplinks_mtu(host: Path, network: BridgeNetwork) -> None:
    def uplink(netlink: Netlink) -> None:
        links.add_bridge(netlink, "up0", mac="02:00:00:00:00:09", mtu=1380)
        made = links.get_link(netlink, "up0")
        assert made is not None
        inet.configure(netlink, made.index, ("192.0.2.2/24",), ("192.0.2.1",))
        assert uplink_mtu(netlink) == 1380

    on_host(host, uplink)
    got = await network.attach(OWNER, ADDRESS, SHOP)
    ends = (link(host, BRIDGE), link(host, VETH), link(got.netns, "eth0"))
    assert [end.mtu for end in ends if end] == [1380, 1380, 1380]


async def test_a_subnet_the_host_routes_elsewhere_is_a_conflict(host: Path, network: BridgeNetwork) -> None:
    def other(netlink: Netlink) -> None:
        links.add_bridge(netlink, "br9", mac="02:00:00:00:00:09", mtu=1500)
        made = links.get_link(netlink, "br9")
        assert made is not None
        inet.add_address(netlink, made.index, "10.71.4.1/24")
        links.add_bridge(netlink, BRIDGE, mac="02:00:00:00:00:0a", mtu=1500)
        mine = links.get_link(netlink, BRIDGE)
        assert mine is not None
        inet.add_address(netlink, mine.index, "10.71.0.1/26")
        inet.claim(netlink, "10.71.0.0/18", names.claim_priority(ID))
        assert foreign(netlink, SITE) == ["10.71.4.0/24"]
        links.delete_link(netlink, BRIDGE)

    on_host(host, other)
    with pytest.raises(Conflict, match=r"10\.71\.4\.0/24"):
        await network.ensure()
    assert link(host, BRIDGE) is None


CRASH = """
import asyncio, importlib, os, signal, sys
from pathlib import Path
from zlayer.model.fabric import Subnet
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.rules import Site

room, step, when = sys.argv[1].split(".")
module = importlib.import_module(f"zlayer.network.{room}")
real = getattr(module, step)

def die(*args, **named):
    if when == "after":
        real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)

network = BridgeNetwork(Site(sys.argv[2], sys.argv[4], "fd7a:7100::/48"), Path(sys.argv[3]), host=Path(sys.argv[5]))
owner, address, shop = sys.argv[6], sys.argv[7], Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
if sys.argv[8] == "detach":
    asyncio.run(network.attach(owner, address, shop))
setattr(module, step, die)
asyncio.run(network.detach(owner) if sys.argv[8] == "detach" else network.attach(owner, address, shop))
"""

ATTACH_STEPS = (
    "inet.claim.after",
    "links.add_bridge.after",
    "inet.add_address.after",
    "nft.run.before",
    "netns.create.before",
    "netns.create.after",
    "netns.set_sysctl.after",
    "links.add_veth.after",
    "links.open_port.before",
    "links.open_port.after",
    "inet.configure.before",
)
DETACH_STEPS = ("links.delete_link_early.before", "links.delete_link_early.after", "netns.destroy.before")


def killed(step: str, call: str, directory: Path, host: Path) -> None:
    argv = [sys.executable, "-c", CRASH, step, ID, str(directory), POOL, str(host), OWNER, ADDRESS, call]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("step", ATTACH_STEPS)
async def test_killed_in_an_attach_the_next_one_is_whole(
    step: str, network: BridgeNetwork, host: Path, directory: Path
) -> None:
    killed(step, "attach", directory, host)
    got = await network.attach(OWNER, ADDRESS, SHOP)
    await network.apply(FABRIC)
    assert_whole(host, got.netns)
    assert list(await network.list()) == [OWNER]


@pytest.mark.parametrize(
    ("step", "call"), [(s, "attach") for s in ATTACH_STEPS] + [(s, "detach") for s in DETACH_STEPS]
)
async def test_killed_anywhere_a_detach_leaves_nothing(
    step: str, call: str, network: BridgeNetwork, host: Path, directory: Path
) -> None:
    killed(step, call, directory, host)
    await network.detach(OWNER)
    assert link(host, VETH) is None
    assert not (directory / "netns" / OWNER).exists()
    assert str(directory / "netns") not in Path("/proc/self/mountinfo").read_text()


UNPRIVILEGED = """
import asyncio, sys
from pathlib import Path
from zlayer.model.errors import Unavailable
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.rules import Site

network = BridgeNetwork(Site("c0ffee12", "10.71.0.0/17"), Path(sys.argv[1]))
for call in (network.ensure(), network.attach("a", None)):
    try:
        asyncio.run(call)
    except Unavailable as error:
        print(error.hint)
"""


def test_without_privileges_it_is_unavailable_and_says_what_is_missing(directory: Path) -> None:
    argv = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", UNPRIVILEGED, str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.count("CAP_NET_ADMIN") == 2, done.stdout + done.stderr


def test_what_the_kernel_says_becomes_our_error() -> None:
    assert isinstance(bridge._told(OSError(errno.EPERM, "no")), Unavailable)
    unknown = bridge._told(OSError(errno.EOPNOTSUPP, "Unknown device type"))
    assert isinstance(unknown, Unavailable)
    assert "modprobe" in unknown.hint
    other = bridge._told(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert isinstance(other, Failed)
    assert "No space" in other.message
