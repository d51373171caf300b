"""What is tracked through a forward, counted and forgotten. Real sockets, in a namespace of the test."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from zlayer.network import conntrack, links, nft
from zlayer.network.netlink import Netlink
from zlayer.network.nfnetlink import open_netfilter
from zlayer.testing.netns import run_inside

pytestmark = pytest.mark.root
RULES = """table inet t {
    chain out {
        type nat hook output priority -100; policy accept;
        meta nfproto ipv4 tcp dport 80 dnat ip to 127.0.0.1:8080
        meta nfproto ipv4 udp dport 53 dnat ip to 127.0.0.1:5353
    }
}
"""


def ready() -> None:
    with Netlink() as netlink:
        links.set_link(netlink, links.LOOPBACK)
    nft.run(RULES)


def test_live_connections_are_counted_by_who_answers_until_they_end(host: Path) -> None:
    def body() -> list[dict[str, int]]:
        ready()
        seen = []
        with open_netfilter() as netlink, socket.create_server(("127.0.0.1", 8080)) as server:
            client = socket.create_connection(("127.0.0.1", 80))
            direct = socket.create_connection(("127.0.0.1", 8080))
            peers = [server.accept()[0], server.accept()[0]]
            seen += [conntrack.count(netlink, {"127.0.0.1"}), conntrack.count(netlink, {"10.0.0.1"})]
            client.shutdown(socket.SHUT_WR)
            seen.append(conntrack.count(netlink, {"127.0.0.1"}))
            for one in (*peers, client, direct):
                one.close()
            seen.append(conntrack.count(netlink, {"127.0.0.1"}))
        return seen

    assert run_inside(host, body) == [{"127.0.0.1": 1}, {}, {"127.0.0.1": 1}, {}]


def test_a_forgotten_session_is_a_new_one_next_time(host: Path) -> None:
    def body() -> list[list[tuple[str, int, int, bool]]]:
        ready()
        seen: list[list[tuple[str, int, int, bool]]] = []
        with open_netfilter() as netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", 53))
            found = list(conntrack.flows(netlink, socket.IPPROTO_UDP))
            seen.append([(f.server, f.server_port, f.port, f.forwarded) for f in found])
            for flow in found:
                conntrack.forget(netlink, flow)
                conntrack.forget(netlink, flow)
            left = conntrack.flows(netlink, socket.IPPROTO_UDP)
            seen.append([(f.server, f.server_port, f.port, f.forwarded) for f in left])
        return seen

    assert run_inside(host, body) == [[("127.0.0.1", 5353, 53, True)], []]
