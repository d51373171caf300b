"""Which network of its node an instance belongs to."""

from __future__ import annotations

from zlayer.model import keys
from zlayer.model.addressing import block_of
from zlayer.model.errors import Unavailable
from zlayer.model.fabric import Subnet
from zlayer.model.instance import Instance, Node
from zlayer.model.network import Network, subnet_of
from zlayer.model.units import Seconds
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, read

_read_network = decoder(Network)

AGAIN = Seconds(0.5)


class Homes:
    """Asks the store each time: a copy that lags could name the network of a deployment that is gone."""

    def __init__(self, store: Store, node: Node) -> None:
        self._store, self._node = store, node

    async def subnet(self, instance: Instance) -> Subnet | None:
        """None for an instance without an address. `Unavailable` when its network is not there."""
        if instance.address is None:
            return None
        item = await self._store.get(keys.network(self._node.id, instance.deployment))
        if item is not None:
            subnet = subnet_of(read(_read_network, item), self._node)
            if block_of(subnet, instance.address) is not None:
                return subnet
        raise Unavailable(
            f"{instance.address} is in no network of {instance.deployment} on {self._node.id}",
            hint="if the node's subnet was changed, remove the instance and start it again",
            retry_after=AGAIN,
        )
