from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Conflict, Invalid
from zlayer.network.subnet import POOLS, choose_subnet, choose_subnet6, overlapping, parse_subnet, preferred_subnet

NETWORKS = st.builds(
    lambda base, prefix: str(IPv4Network((base, prefix), strict=False)),
    st.one_of(st.integers(0x0A400000, 0x0A7FFFFF), st.integers(0, 0xFFFFFFFF)),
    st.integers(11, 32),
)


def test_the_preferred_one_is_stable_inside_the_pool_and_differs_between_daemons() -> None:
    given_ids = [f"{n:08x}" for n in range(50)]
    chosen = [preferred_subnet(i) for i in given_ids]
    assert chosen == [preferred_subnet(i) for i in given_ids]
    assert len(set(chosen)) > 30
    assert all(IPv4Network(c).prefixlen == 17 and IPv4Network(c).subnet_of(POOLS[0]) for c in chosen)


def test_a_free_preferred_subnet_is_kept_whatever_it_is() -> None:
    assert choose_subnet("10.88.0.0/16", ["0.0.0.0/0", "192.168.1.0/24"]) == "10.88.0.0/16"


def test_the_next_free_slice_after_a_taken_one() -> None:
    assert choose_subnet("10.64.0.0/17", ["10.64.0.0/24", "fd00::/8"], ["10.64.128.0/17"]) == "10.65.0.0/17"
    assert choose_subnet("10.127.128.0/17", ["10.127.128.0/17"]) == "10.64.0.0/17"


def test_the_second_pool_when_the_first_is_routed_as_a_whole() -> None:
    assert choose_subnet("10.64.0.0/20", ["10.0.0.0/8", "172.17.0.0/16"]) == "172.16.0.0/17"


def test_nothing_free_is_a_conflict_with_a_way_out() -> None:
    with pytest.raises(Conflict) as caught:
        choose_subnet("10.64.0.0/20", ["10.0.0.0/8", "172.16.0.0/12"])
    assert "config.toml" in caught.value.hint


@given(st.text("0123456789abcdef", min_size=8, max_size=8), st.lists(NETWORKS, max_size=20))
def test_what_is_chosen_overlaps_nothing(short_id: str, routes: list[str]) -> None:
    try:
        chosen = IPv4Network(choose_subnet(preferred_subnet(short_id), routes))
    except Conflict:
        left = sum(net.num_addresses for net in POOLS)
        assert sum(IPv4Network(route).num_addresses for route in routes) >= left / 512
        return
    assert not any(chosen.overlaps(IPv4Network(route)) for route in routes)


def test_overlapping_names_the_route_and_ignores_the_default_route() -> None:
    assert overlapping("10.64.0.0/20", ["0.0.0.0/0", "10.65.0.0/16", "10.64.8.0/24"]) == "10.64.8.0/24"
    assert overlapping("10.64.0.0/20", ["0.0.0.0/0", "10.65.0.0/16", "::/0", "fd00::/8"]) is None
    assert overlapping("fd7a::/48", ["::/0", "10.0.0.0/8", "fd7a:0:0:1::/64"]) == "fd7a:0:0:1::/64"


def test_the_ipv6_prefix_is_a_unique_local_48_that_no_route_overlaps() -> None:
    first = choose_subnet6("c0ffee12", ["::/0", "10.0.0.0/8", "fe80::/64"])
    assert first == choose_subnet6("c0ffee12", [])
    assert first.startswith("fd")
    assert first.endswith("/48")
    assert choose_subnet6("c0ffee13", []) != first
    other = choose_subnet6("c0ffee12", [first.replace("/48", "/64")])
    assert other not in (first, "")
    with pytest.raises(Conflict) as caught:
        choose_subnet6("c0ffee12", ["fc00::/7"])
    assert "ipv6 = false" in caught.value.hint


@pytest.mark.parametrize("text", ["", "10.0.0.1/24", "10.0.0.0/33", "fd00::/64", "web"])
def test_what_is_no_subnet_is_told_with_an_example(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_subnet(text)
    assert "10.64.128.0/17" in caught.value.hint
