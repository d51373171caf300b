from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.addressing import address6, block, block_count, block_number, block_of, blocks6, gateway, within
from zlayer.model.fabric import Subnet

POOL, PREFIX = "10.64.0.0/17", "fd7a:7100::/48"


@given(st.integers(0, 511), st.integers(0, 63))
def test_an_ipv6_address_has_its_ipv4_addresses_position_in_its_blocks_64(number: int, position: int) -> None:
    own = block(POOL, number)
    assert block_number(POOL, own) == number
    assert within(POOL, own)
    subnet = Subnet("shop", number, (own,), blocks6(POOL, PREFIX, (own,)))
    address = str(IPv4Network(own).network_address + position)
    other = address6(subnet, address)
    assert other is not None
    assert int(IPv6Address(other)) - int(IPv6Network(PREFIX).network_address) == (number << 64) + position
    assert block_of(subnet, address) == 0
    assert block_of(subnet, str(IPv4Address(address) + 64)) is None


def test_a_pool_is_cut_into_blocks_and_a_small_one_is_one() -> None:
    assert block_count(POOL) == 512
    assert (block_count("10.0.0.0/28"), block("10.0.0.0/28", 0)) == (1, "10.0.0.0/28")
    assert not within(POOL, "10.65.0.0/26")
    assert not within(POOL, "10.64.0.0/24")


def test_the_gateway_is_the_first_usable_address_of_either_family() -> None:
    assert gateway("10.64.0.64/26") == "10.64.0.65"
    assert gateway("fd7a:7100:0:1::/64") == "fd7a:7100:0:1::1"


def test_without_a_prefix_there_is_no_ipv6() -> None:
    assert blocks6(POOL, "", ("10.64.0.0/26",)) == ()
    assert address6(Subnet("shop", 0, ("10.64.0.0/26",)), "10.64.0.2") is None
