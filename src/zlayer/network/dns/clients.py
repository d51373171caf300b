"""Who may ask: addresses of some networks, and nobody else. The name server is no open resolver, whatever the
firewall says."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

KEPT = 4096


class Clients:
    """`may` an address ask? Of no networks at all: everybody may (a bench, a test)."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(one, strict=False) for one in networks]
        self._known: dict[str, bool] = {}

    def may(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            known = self._known[address] = self._within(address)
        return known

    def _within(self, address: str) -> bool:
        if not self._networks:
            return True
        asker = ip_address(address.partition("%")[0])
        return any(asker in network for network in self._networks)
