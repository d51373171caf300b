"""Which addresses a deployment's instances get on a node: from blocks of its pool, a further one when they are full."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from zlayer.model.addressing import RESERVED, block, block_count, block_number, network4, within
from zlayer.model.errors import Exhausted
from zlayer.model.instance import ONE_OFF, Node
from zlayer.model.network import Network


def pick(blocks: Sequence[str], used: Container[str], *, after: str | None = None) -> str | None:
    """A free address of these blocks, searched upwards from `after` and round: a freed address rests before it is
    given again. None when all are taken. Network, broadcast and gateway addresses are never given."""
    spans = []
    for one in map(network4, blocks):
        first = int(one.network_address) + RESERVED - 1
        spans.append(range(first, first + one.num_addresses - RESERVED))
    behind = int(IPv4Address(after)) if after else 0
    start = next((n for n, span in enumerate(spans) if behind in span), None)
    if start is not None:
        span = spans[start]
        spans = [range(behind + 1, span.stop), *spans[start + 1 :], *spans[:start], range(span.start, behind + 1)]
    for span in spans:
        for number in span:
            if (candidate := str(IPv4Address(number))) not in used:
                return candidate
    return None


class Allotment:
    """One node's addresses while a decision is made. `changed` are the network documents it makes or extends."""

    def __init__(self, node: Node, networks: Iterable[Network], used: Iterable[str]) -> None:
        self.changed: dict[str, Network] = {}
        self._pool, self._node = node.subnet, node.id
        self._used = set(used)
        self._networks = {one.deployment: one for one in networks if usable(one, node)}

    def open(self, deployment: str) -> None:
        """The deployment has a network, before anybody of it has an address. `Exhausted` as `give`."""
        if deployment not in self._networks:
            self._extend(deployment, None)

    def give(self, deployment: str, *, after: str | None = None) -> str:
        """An address in the deployment's network. `Exhausted` when there is neither one nor a free block."""
        network = self._networks.get(deployment)
        address = pick(network.blocks, self._used, after=after) if network is not None else None
        if address is None:
            network = self._extend(deployment, network)
            address = pick(network.blocks, self._used)
        if address is None:  # another's old addresses lie in the fresh block
            return self.give(deployment)
        self._used.add(address)
        return address

    def _extend(self, deployment: str, network: Network | None) -> Network:
        number = self._free_block(network)
        fresh = block(self._pool, number)
        if network is None:
            network = Network(node=self._node, deployment=deployment, number=number, blocks=(fresh,))
        else:
            network = network.model_copy(update={"blocks": (*network.blocks, fresh)})
        self._networks[deployment] = self.changed[deployment] = network
        return network

    def _free_block(self, network: Network | None) -> int:
        """The next behind those in use, and round: a freed block rests too."""
        taken = {block_number(self._pool, one) for other in self._networks.values() for one in other.blocks}
        count = block_count(self._pool)
        start = max(taken, default=-1) + 1
        for offset in range(count):
            if (number := (start + offset) % count) not in taken:
                return number
        full = f"the {sum(map(_room, network.blocks))} addresses of its network are in use, and " if network else ""
        raise Exhausted(
            f"{full}all {count} blocks of {self._pool} are taken",
            hint="remove deployments or instances, or give the node a larger pool in config.toml ([network] subnet)",
        )


def one_off_networks(nodes: Iterable[Node], networks: Iterable[Network]) -> list[Network]:
    """Those that nodes do not have yet: a `run` must not wait for its network, and never gives it back."""
    everyone = list(networks)
    made: list[Network] = []
    for node in nodes:
        allotment = Allotment(node, everyone, ())
        with suppress(Exhausted):
            allotment.open(ONE_OFF)
        made += allotment.changed.values()
    return made


def usable(network: Network, node: Node) -> bool:
    """Whether a network is one of the node's pool as it is now: a changed configuration leaves old ones behind."""
    return network.node == node.id and all(within(node.subnet, one) for one in network.blocks)


def _room(block: str) -> int:
    return network4(block).num_addresses - RESERVED
