"""The arithmetic of a node's addresses: a pool is cut into blocks, a network is made of some of them. Pure.

Block n of the IPv4 pool owns /64 number n of the node's IPv6 prefix, and a container's IPv6 address has its IPv4
address's position in its block: whoever knows one knows the other, and nothing but IPv4 is ever given out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from zlayer.model.fabric import Subnet

BLOCK = 26
"""Prefix of a block: 61 containers. A pool that is smaller is one block."""
KEPT = 4096
"""Answers kept of each question: text becomes numbers slowly, and the same few blocks are asked about all day."""
RESERVED = 3
"""Addresses of a block that no container gets: its own, the gateway's, the broadcast."""


@lru_cache(KEPT)
def network4(cidr: str) -> IPv4Network:
    """ValueError for anything that is no IPv4 network."""
    return IPv4Network(cidr)


@lru_cache(KEPT)
def block_prefix(pool: str) -> int:
    return max(BLOCK, network4(pool).prefixlen)


def block_count(pool: str) -> int:
    return 1 << (block_prefix(pool) - network4(pool).prefixlen)


@lru_cache(KEPT)
def block(pool: str, number: int) -> str:
    """Block `number` of the pool, in CIDR form."""
    prefix = block_prefix(pool)
    return f"{network4(pool).network_address + (number << (32 - prefix))}/{prefix}"


@lru_cache(KEPT)
def block_number(pool: str, block: str) -> int:
    first = int(network4(block).network_address) - int(network4(pool).network_address)
    return first >> (32 - block_prefix(pool))


@lru_cache(KEPT)
def within(pool: str, block: str) -> bool:
    """Whether `block` is a block of the pool: another pool's are worth nothing here."""
    inner = network4(block)
    return inner.prefixlen == block_prefix(pool) and inner.subnet_of(network4(pool))


@lru_cache(KEPT)
def block6(prefix6: str, number: int) -> str:
    """The /64 that goes with block `number`."""
    return f"{IPv6Network(prefix6).network_address + (number << 64)}/64"


@lru_cache(KEPT)
def gateway(block: str) -> str:
    """The first usable address of an IPv4 or IPv6 block: the bridge's."""
    if ":" in block:
        return str(IPv6Network(block).network_address + 1)
    return str(network4(block).network_address + 1)


def blocks6(pool: str, prefix6: str, blocks: Sequence[str]) -> tuple[str, ...]:
    """The IPv6 blocks that belong to `blocks`, one by one; none where the node has no IPv6."""
    return tuple(block6(prefix6, block_number(pool, one)) for one in blocks) if prefix6 else ()


def block_of(subnet: Subnet, address: str) -> int | None:
    """Which of the subnet's blocks an IPv4 address is in."""
    wanted = IPv4Address(address)
    return next((n for n, one in enumerate(subnet.blocks) if wanted in network4(one)), None)


@lru_cache(maxsize=4096)  # asked for every replica whenever names are derived
def address6(subnet: Subnet, address: str) -> str | None:
    """The IPv6 address that goes with a container's IPv4 address; None where the node has no IPv6."""
    number = block_of(subnet, address)
    if number is None or number >= len(subnet.blocks6):
        return None
    position = int(IPv4Address(address)) - int(network4(subnet.blocks[number]).network_address)
    return str(IPv6Network(subnet.blocks6[number]).network_address + position)
