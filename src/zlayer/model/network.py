"""What controllers give out of a node: blocks of addresses to deployments, and host ports nobody named."""

from __future__ import annotations

from pydantic import Field

from zlayer.model.addressing import blocks6
from zlayer.model.base import Document
from zlayer.model.fabric import Subnet
from zlayer.model.instance import Node


class Network(Document):
    """One deployment's isolated network on one node. Key `/networks/{node}/{deployment}`. Written by controllers.

    Made with its first placed instance, given more blocks as it fills up, gone with the deployment's last address.
    """

    schema_version: int = 1
    node: str
    deployment: str
    number: int
    """The first block's number in the node's pool: unique on the node, and kernel names derive from it."""
    blocks: tuple[str, ...]
    """IPv4 in CIDR form, in the order they were given."""


class Ports(Document):
    """Host ports chosen for mappings that name none. Key `/ports/{node}`. Written by controllers.

    `given` maps `deployment/service/container_port/protocol/host_ip` to the port, which is kept while the service has
    the mapping.
    """

    schema_version: int = 1
    node: str
    given: dict[str, int] = Field(default_factory=dict)


def subnet_of(network: Network, node: Node) -> Subnet:
    """The network as the node's kernel is told of it."""
    return Subnet(
        name=network.deployment,
        number=network.number,
        blocks=network.blocks,
        blocks6=blocks6(node.subnet, node.subnet6, network.blocks),
    )
