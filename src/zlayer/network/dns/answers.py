"""Answers of one view, put together when first asked for and kept: a table swapped whole, a lookup per question."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from zlayer.model.zone import View
from zlayer.network.dns import message
from zlayer.network.dns.message import Question

_KINDS = {message.A: 4, message.AAAA: 6}
KEPT = 10_000
"""Questions whose answers are kept; beyond that (somebody tries names) they are made anew."""


class Answers:
    """`reply` gives bytes for a question about our domain, and None for one about another's.

    Made in no time, whatever the view holds: nothing is packed before it is asked for.
    """

    def __init__(self, view: View, domain: str, ttl: int) -> None:
        self._view, self._ttl = view, ttl
        self._domain = message.wire_name(domain)
        self._authority = message.authority_record(self._domain, ttl)
        self._known: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
        """Name and type to code and records."""
        self._turn = itertools.count()

    def ours(self, name: bytes) -> bool:
        """Within the domain: at it, or below it on a label's border."""
        if not name.endswith(self._domain):
            return False
        at, border = 0, len(name) - len(self._domain)
        while at < border:
            at += name[at] + 1
        return at == border

    def reply(self, asked: Question, room: int) -> bytes | None:
        key = (asked.name, asked.kind)
        found = self._known.get(key)
        if found is None:
            if not self.ours(asked.name):
                return None
            found = self._find(asked.name, asked.kind)
            if len(self._known) < KEPT:
                self._known[key] = found
        if asked.kind_class not in (message.IN, message.ANY):
            return message.answer(asked, message.REFUSED, [])
        code, records = found
        if not records:
            return message.answer(asked, code, [], self._authority)
        return message.fit(asked, self._rotated(records), room)[0]

    def _find(self, wire: bytes, kind: int) -> tuple[int, list[bytes]]:
        name = message.dotted(wire)
        addresses = self._view.names.get(name)
        if addresses is None:
            there = wire == self._domain or any(other.endswith(f".{name}") for other in self._view.names)
            return (message.NOERROR if there else message.NXDOMAIN), []  # RFC 8020: with names below, it exists
        return message.NOERROR, self._made(kind, addresses)

    def _made(self, kind: int, addresses: Sequence[str]) -> list[bytes]:
        """Records of the kind; for ANY the first address alone (RFC 8482, 4.1)."""
        if kind == message.ANY:
            return [message.address_record(one, self._ttl) for one in addresses[:1]]
        version = _KINDS.get(kind)
        return [message.address_record(one, self._ttl) for one in addresses if version == (6 if ":" in one else 4)]

    def _rotated(self, records: list[bytes]) -> list[bytes]:
        if len(records) == 1:
            return records
        start = next(self._turn) % len(records)
        return records[start:] + records[:start]
