from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from zlayer.model.fabric import Forward, Transport
from zlayer.network import inet, links
from zlayer.network.netlink import Netlink
from zlayer.network.reserve import Refusal, Reservations

pytestmark = pytest.mark.root
T = TypeVar("T")
Inside = Callable[[Callable[[], T]], T]
Taken = tuple[tuple[Forward, ...], tuple[Refusal, ...]]
Refused = tuple[Refusal, ...]


@pytest.fixture
def held() -> Iterator[Reservations]:
    made = Reservations()
    yield made
    made.close()


def loopback() -> None:
    with Netlink() as netlink:
        links.set_link(netlink, links.LOOPBACK)
        inet.add_address(netlink, links.LOOPBACK, "10.71.0.1/26")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_program_that_has_the_port_is_named(held: Reservations, inside: Inside[Taken], transport: Transport) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM

    def body() -> Taken:
        loopback()
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 8080))
            if transport == "tcp":
                other.listen()
            return held.take([Forward(transport, 8080, owner="shop/web"), Forward(transport, 8081)])

    accepted, refused = inside(body)
    assert [one.port for one in accepted] == [8081]
    [told] = refused
    assert told.owner == "shop/web"
    assert str(told).startswith(f"{transport} port 8080 is in use by ")
    assert f"(pid {os.getpid()})" in told.reason


def test_what_is_held_nobody_else_gets_and_what_is_let_go_everybody(held: Reservations, inside: Inside[None]) -> None:
    def body() -> None:
        loopback()
        held.take([Forward("tcp", 8080)])
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("0.0.0.0", 8080))
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", 8080))
        held.take([])
        socket.create_server(("0.0.0.0", 8080)).close()

    inside(body)


def test_past_connections_do_not_count(held: Reservations, inside: Inside[Refused]) -> None:
    def body() -> Refused:
        loopback()
        with socket.create_server(("127.0.0.1", 8080)) as server:
            client = socket.create_connection(("127.0.0.1", 8080))
            peer, _ = server.accept()
            peer.close()
            client.close()
        return held.take([Forward("tcp", 8080)])[1]

    assert inside(body) == ()


def test_a_port_of_every_address_and_of_one_are_both_ours_whichever_comes_first(
    held: Reservations, inside: Inside[list[Refused]]
) -> None:
    everywhere, gateway = Forward("udp", 53), Forward("udp", 53, "10.71.0.1")

    def body() -> list[Refused]:
        loopback()
        wishes: tuple[list[Forward], ...] = (
            [gateway],
            [gateway, everywhere],
            [everywhere],
            [everywhere, gateway],
            [gateway],
            [],
        )
        return [held.take(wish)[1] for wish in wishes]

    assert inside(body) == [()] * 6


def test_an_address_the_node_does_not_have_is_told(held: Reservations, inside: Inside[Refused]) -> None:
    def body() -> Refused:
        loopback()
        return held.take([Forward("tcp", 80, "192.0.2.77")])[1]

    assert [one.reason for one in inside(body)] == ["tcp port 80 of 192.0.2.77: the node has no such address"]
