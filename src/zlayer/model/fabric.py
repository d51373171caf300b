"""What a node's kernel is told, whole: networks, who may cross from one to another, ports forwarded to replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Subnet:
    """One deployment's isolated network on a node. `blocks` are IPv4 in CIDR form, within the node's pool.

    The first usable address of the first block is the gateway: the bridge, and the name server. `blocks6` belong to
    them one by one (empty where the node has no IPv6); a container's IPv6 address has its IPv4's position in its block.
    """

    name: str
    number: int
    """Small, unique on the node, kept for the network's life: kernel names derive from it."""
    blocks: tuple[str, ...]
    blocks6: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """The container at `source` may open connections into the network `target`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a forwarded packet goes. `id` is the instance's."""

    id: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the node, spread over `targets` by the kernel; without targets it is refused, not silently dropped.

    `address` empty: every address of the node, for everybody. An address of a network's gateway: only for that
    network and the node. Any other address: that one, for everybody.
    """

    transport: Transport
    port: int
    address: str = ""
    targets: tuple[Target, ...] = ()
    sticky: bool = False
    """A client address stays with its target while that is there."""
    owner: str = field(default="", compare=False)
    """`deployment/service`, for messages."""


@dataclass(frozen=True, slots=True)
class Fabric:
    """`revision` is the store's that it was derived from."""

    revision: int = field(default=0, compare=False)
    subnets: tuple[Subnet, ...] = ()
    reaches: tuple[Reach, ...] = ()
    forwards: tuple[Forward, ...] = ()
