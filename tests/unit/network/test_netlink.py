from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.network import links
from zlayer.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Netlink,
    as_text,
    as_u32,
    attr,
    attribute,
    attributes,
    nested,
    text_attr,
    u32_attr,
)

Inside = Callable[[Callable[[], object]], object]


@given(st.dictionaries(st.integers(1, 100), st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_they_were_packed(wanted: dict[int, bytes]) -> None:
    packed = b"".join(attr(kind, payload) for kind, payload in wanted.items())
    assert len(packed) % 4 == 0
    assert attributes(packed) == wanted
    assert [attribute(packed, kind) for kind in wanted] == list(wanted.values())
    assert attribute(packed, 101) is None


@given(st.binary(max_size=64))
def test_garbage_is_read_without_harm(data: bytes) -> None:
    assert all(len(payload) <= len(data) for payload in attributes(data).values())


def test_texts_numbers_and_nests() -> None:
    packed = nested(18, text_attr(1, "veth"), u32_attr(2, 7))
    inner = attributes(attributes(packed)[18])
    assert (as_text(inner[1]), as_u32(inner[2])) == ("veth", 7)


@pytest.mark.root
def test_the_kernels_own_words_are_in_the_error(inside: Inside) -> None:
    def bad_kind() -> None:
        body = links.IFINFO.pack(0, 0, 0, 0, 0) + nested(18, text_attr(1, "nosuchkind"))
        with Netlink() as netlink:
            netlink.request(links.RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)

    with pytest.raises(OSError) as caught:
        inside(bad_kind)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "Unknown device type" in str(caught.value)


@pytest.mark.root
def test_the_first_failure_of_several_is_raised_and_the_socket_goes_on(inside: Inside) -> None:
    def body() -> tuple[int, bool]:
        gone = (links.RTM_DELLINK, links.IFINFO.pack(0, 0, 99, 0, 0), 0)
        up = (links.RTM_NEWLINK, links.IFINFO.pack(0, 0, links.LOOPBACK, 1, 1), 0)
        with Netlink() as netlink:
            try:
                netlink.requests(gone, up, up)
            except OSError as error:
                lo = links.get_link(netlink, "lo")
                return error.errno or 0, lo is not None and lo.up
        return 0, False

    assert inside(body) == (errno.ENODEV, True)


@pytest.mark.root
def test_a_dump_larger_than_one_datagram_is_whole(inside: Inside) -> None:
    def body() -> int:
        with Netlink() as netlink:
            for number in range(60):
                links.add_bridge(netlink, f"b{number}", mac=f"02:00:00:00:00:{number:02x}", mtu=1500)
            return len(links.links(netlink, kind="bridge"))

    assert inside(body) == 60


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.root
def test_a_closed_socket_leaves_no_descriptor(inside: Inside) -> None:
    def body() -> bool:
        before = descriptors()
        with Netlink() as netlink:
            netlink.dump(links.RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0))
        return descriptors() <= before

    assert inside(body) is True
