from __future__ import annotations

import pytest

from zlayer.network.dns.clients import KEPT, Clients


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("10.64.0.2", True),
        ("10.64.0.63", True),
        ("10.64.0.64", False),
        ("127.0.0.1", False),
        ("fd00:1::2", True),
        ("fd00:1::2%eth0", True),
        ("fd00:2::2", False),
        ("::ffff:10.64.0.2", False),
    ],
)
def test_who_may_ask(address: str, may: bool) -> None:
    clients = Clients(["10.64.0.0/26", "fd00:1::/64"])
    assert [clients.may(address), clients.may(address)] == [may, may]


def test_of_no_networks_everybody_may() -> None:
    assert Clients([]).may("192.0.2.1")


def test_a_crowd_of_askers_fills_nothing() -> None:
    clients = Clients(["10.0.0.0/8"])
    for number in range(3 * KEPT):
        clients.may(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(clients._known) <= KEPT
