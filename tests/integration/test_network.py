"""Traffic through real bridges. "The host" and "outside" are namespaces of the test; nothing leaves them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from zlayer.model.fabric import Fabric, Subnet
from zlayer.network import inet, links
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.netlink import Netlink
from zlayer.network.rules import Site
from zlayer.testing.leaks import Census, snapshot_machine
from zlayer.testing.netns import namespace, run_inside, short_directory

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

PORT, PATIENCE = 8080, 10.0
POOL, POOL6 = "10.71.0.0/17", "fd7a:7100::/48"
SITE, OTHER_SITE = Site("c0ffee12", POOL, POOL6), Site("c0ffee13", "10.72.0.0/17")
SHOP = Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
BLOG = Subnet("blog", 1, ("10.71.0.64/26",), ("fd7a:7100:0:1::/64",))
OTHER = Subnet("shop", 0, ("10.72.0.0/26",))
FABRIC = Fabric(1, (SHOP, BLOG))
FIRST, SECOND, GATEWAY = "10.71.0.2", "10.71.0.3", "10.71.0.1"


@contextmanager
def server(netns: Path) -> Iterator[None]:
    """A TCP server in `netns` that answers every connection with the address it came from."""

    def listen() -> socket.socket:
        return socket.create_server(("0.0.0.0", PORT))

    def serve() -> None:
        while True:
            try:
                peer, (address, _) = listening.accept()
            except OSError:
                return
            with peer:
                peer.sendall(address.encode())

    listening = run_inside(netns, listen)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


def seen_by(client: Path, address: str, *, patience: float = PATIENCE) -> str:
    """Connect from `client` to the server at `address`: the address it saw, empty when it could not be reached."""

    def ask() -> str:
        try:
            with socket.create_connection((address, PORT), timeout=patience) as peer:
                return peer.recv(100).decode()
        except OSError:
            return ""

    return run_inside(client, ask)


@pytest.fixture
def host() -> Iterator[Path]:
    with namespace() as made:
        yield made


@pytest.fixture
def run() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@pytest.fixture
async def network(host: Path, run: Path) -> AsyncIterator[BridgeNetwork]:
    made = BridgeNetwork(SITE, run, host=host)
    try:
        await made.ensure()
        yield made
    finally:
        await made.destroy()
        made.close()


@contextmanager
def outside(host: Path) -> Iterator[Path]:
    """Another machine: 192.0.2.2, linked to the host's 192.0.2.1. It has no route to any container subnet."""

    def uplink() -> None:
        descriptor = os.open(other, os.O_RDONLY)
        try:
            with Netlink() as netlink:
                links.add_veth(netlink, links.Veth("up0", "eth0", "02:00:00:00:00:02", 1500), descriptor)
        finally:
            os.close(descriptor)

    def configure(name: str, own: str, gateway: str) -> None:
        with Netlink() as netlink:
            link = links.get_link(netlink, name)
            assert link is not None
            if gateway:
                inet.configure(netlink, link.index, (own,), (gateway,))
            else:
                links.set_link(netlink, link.index)
                inet.add_address(netlink, link.index, own)

    with namespace() as other:
        run_inside(host, uplink)
        run_inside(host, lambda: configure("up0", "192.0.2.1/24", "192.0.2.2"))
        run_inside(other, lambda: configure("eth0", "192.0.2.2/24", ""))
        yield other


async def test_containers_and_the_host_reach_each_other(network: BridgeNetwork, host: Path) -> None:
    first, second = await network.attach("a", FIRST, SHOP), await network.attach("b", SECOND, SHOP)
    with server(first.netns), server(second.netns), server(host):
        assert seen_by(first.netns, SECOND) == FIRST
        assert seen_by(second.netns, FIRST) == SECOND
        assert seen_by(host, FIRST) == GATEWAY
        assert seen_by(host, SECOND) == GATEWAY
        assert seen_by(first.netns, GATEWAY) == FIRST
        assert seen_by(first.netns, FIRST) == FIRST
        assert seen_by(first.netns, "127.0.0.1") == "127.0.0.1"


async def test_an_isolated_one_reaches_nobody_but_itself(network: BridgeNetwork) -> None:
    alone, other = await network.attach("alone", None), await network.attach("b", SECOND, SHOP)
    with server(other.netns), server(alone.netns):
        assert seen_by(alone.netns, SECOND) == ""
        assert seen_by(alone.netns, "127.0.0.1") == "127.0.0.1"


async def test_outside_sees_the_host_and_cannot_come_in(network: BridgeNetwork, host: Path) -> None:
    attached = await network.attach("a", FIRST, SHOP)
    with outside(host) as other, server(other), server(attached.netns):
        assert seen_by(attached.netns, "192.0.2.2") == "192.0.2.1"

        def route() -> None:
            subprocess.run(["ip", "route", "add", POOL, "via", "192.0.2.1"], check=True)

        run_inside(other, route)
        assert seen_by(other, FIRST, patience=1.0) == ""


async def test_what_was_published_by_destination_nat_comes_in(network: BridgeNetwork, host: Path) -> None:
    attached = await network.attach("a", FIRST, SHOP)
    rules = f"""table ip published {{
        chain in {{
            type nat hook prerouting priority dstnat; policy accept;
            tcp dport 9090 dnat to {FIRST}:{PORT}
        }}
    }}
    """

    def publish() -> None:
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def ask() -> bytes:
        with socket.create_connection(("192.0.2.1", 9090), timeout=PATIENCE) as peer:
            return peer.recv(100)

    with outside(host) as other, server(attached.netns):
        run_inside(host, publish)
        assert run_inside(other, ask) == b"192.0.2.2"


async def test_two_daemons_side_by_side(network: BridgeNetwork, host: Path, run: Path) -> None:
    other = BridgeNetwork(OTHER_SITE, run / "other", host=host)
    try:
        mine, theirs = await network.attach("a", FIRST, SHOP), await other.attach("a", "10.72.0.2", OTHER)
        with server(mine.netns), server(theirs.netns):
            assert seen_by(host, "10.72.0.2") == "10.72.0.1"
            assert seen_by(mine.netns, "10.72.0.2", patience=1.0) == ""
            await other.destroy()
            assert list(await network.list()) == ["a"]
            assert seen_by(host, FIRST) == GATEWAY
    finally:
        await other.destroy()
        other.close()


async def test_traffic_goes_on_after_the_bridge_was_deleted_and_mended(network: BridgeNetwork, host: Path) -> None:
    first, second = await network.attach("a", FIRST, SHOP), await network.attach("b", SECOND, SHOP)

    def delete() -> None:
        with Netlink() as netlink:
            links.delete_link(netlink, "zlc0ffee12-0")

    with server(second.netns):
        assert seen_by(first.netns, SECOND) == FIRST
        run_inside(host, delete)
        await network.apply(FABRIC)
        assert seen_by(first.netns, SECOND) == FIRST
        assert seen_by(host, SECOND) == GATEWAY


async def test_a_hundred_come_and_go_without_a_trace(network: BridgeNetwork, host: Path, run: Path) -> None:
    def count() -> Census:
        return run_inside(host, lambda: snapshot_machine(data_dir=run))

    await network.apply(Fabric())
    before = await anyio.to_thread.run_sync(count)
    for number in range(10):
        async with anyio.create_task_group() as tasks:
            for slot in range(10):
                subnet = Subnet("n", number * 4, (f"10.71.{number}.0/26",))
                tasks.start_soon(network.attach, f"o{slot}", f"10.71.{number}.{slot + 2}", subnet)
        async with anyio.create_task_group() as tasks:
            for slot in range(10):
                tasks.start_soon(network.detach, f"o{slot}")
    await network.apply(Fabric())
    assert await anyio.to_thread.run_sync(count) == before


CHURN = """
import asyncio, sys
from pathlib import Path
from zlayer.model.fabric import Subnet
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.rules import Site

async def main():
    shop = Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
    network = BridgeNetwork(Site("c0ffee12", sys.argv[2], "fd7a:7100::/48"), Path(sys.argv[1]), host=Path(sys.argv[3]))
    print("ready", flush=True)
    while True:
        await network.attach("a", "10.71.0.2", shop)
        await network.attach("b", "10.71.0.3", shop)
        print("both", flush=True)
        await network.detach("a")
        await network.detach("b")

asyncio.run(main())
"""


def killed_after(argv: list[str], lines: int) -> None:
    """Start it, read as many lines of it, kill it."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


async def test_killed_while_it_attaches_and_detaches_another_takes_over(
    network: BridgeNetwork, host: Path, run: Path
) -> None:
    """Each round lets it go a little further; where exactly it dies is up to the kernel's scheduler."""
    argv = [sys.executable, "-c", CHURN, str(run), POOL, str(host)]
    for rounds in range(5):
        await anyio.to_thread.run_sync(killed_after, argv, rounds + 1)
        first, second = await network.attach("a", FIRST, SHOP), await network.attach("b", SECOND, SHOP)
        with server(second.netns):
            assert seen_by(first.netns, SECOND) == FIRST
        await network.detach("a")
        await network.detach("b")
        assert list(await network.list()) == []
