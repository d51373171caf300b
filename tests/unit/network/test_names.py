from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.network import names


def test_every_name_fits_the_kernel() -> None:
    for short_id in ("0", "c0ffee12"):
        assert len(names.bridge_name(short_id, 0xFFFF)) <= 15
        assert len(names.veth_name(short_id, "x" * 200)) == 15


def test_veths_tell_the_daemon_and_differ_by_owner_and_daemon() -> None:
    first = names.veth_name("c0ffee12", "shop-web-0-aa")
    assert first.startswith("vc0ff")
    assert first == names.veth_name("c0ffee12", "shop-web-0-aa")
    assert first != names.veth_name("c0ffee12", "shop-web-0-ab")
    assert first != names.veth_name("c0ffee13", "shop-web-0-aa")


def test_groups_differ_and_are_never_the_default() -> None:
    groups = {names.link_group("c0ffee12", number) for number in range(0x10000)}
    assert len(groups) == 0x10000
    assert all(0 < group < 1 << 31 for group in groups)
    assert names.link_group("c0ffee13", 0) not in groups
    assert names.numbered("c0ffee12", names.link_group("c0ffee12", 0xABCD)) == 0xABCD
    assert names.numbered("c0ffee12", names.link_group("c0ffee13", 1)) is None
    assert names.numbered("c0ffee12", 0) is None


def test_claims_of_daemons_differ() -> None:
    metrics = {names.claim_priority(f"{n:08x}") for n in range(100)}
    assert len(metrics) == 100
    assert all(0 < metric < 1 << 32 for metric in metrics)


def test_the_mac_follows_the_address_and_is_a_local_unicast_one() -> None:
    assert names.mac_of("10.64.0.2") == "02:7a:0a:40:00:02"
    assert names.mac_of("10.64.0.3") != names.mac_of("10.64.0.2")


@pytest.mark.parametrize("owner", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\0b", "a\n", "x" * 201])
def test_owners_that_could_leave_the_directory_are_refused(owner: str) -> None:
    with pytest.raises(Invalid):
        names.check_owner(owner)


def test_instance_ids_are_owners() -> None:
    for owner in ("shop-web-0-ab12", "_run-busy-0-1", "a", "x" * 200):
        assert names.check_owner(owner) == owner


@pytest.mark.parametrize("short_id", ["", "UPPER", "with-dash", "a" * 9])
def test_short_ids_that_cannot_name_a_bridge_are_refused(short_id: str) -> None:
    with pytest.raises(Invalid):
        names.check_short_id(short_id)
