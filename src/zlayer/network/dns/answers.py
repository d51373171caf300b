"""Answers of one view, put together when first asked for and kept: a table swapped whole, a lookup per question."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from zlayer.model.zone import View
from zlayer.network.dns import message
from zlayer.network.dns.message import Question

_KINDS = {message.A: 4, message.AAAA: 6}
TURNS = 8
"""Addresses of a name up to which every order of them is packed beforehand; they fit the smallest packet."""
PLAIN = (message.A, message.AAAA)


class Answers:
    """`reply` gives bytes for a question about our domain, and None for one about another's.

    Made in no time, whatever the view holds: nothing is packed before it is asked for. What is kept is bounded by the
    view: who tries names fills nothing.
    """

    def __init__(self, view: View, domain: str, ttl: int) -> None:
        self._view, self._ttl = view, ttl
        self._name = domain
        self._domain = message.wire_name(domain)
        self._authority = message.authority_record(self._domain, ttl)
        self._known: dict[tuple[bytes, int], list[bytes]] = {}
        """Records by name and type, of names the view has."""
        self.packed: dict[bytes, tuple[bytes, ...]] = {}
        """Whole replies but for the id, one for each turn of the addresses, by the question but for its id: of names
        the view has, asked the way most clients ask (`message.usual`)."""
        self.turn = itertools.count()
        self._between: frozenset[str] | None = None

    def known(self, data: bytes, room: int | None = None) -> bytes | Question | None:
        """The reply to any packet; None for what deserves none; the question where others are to be asked.

        Of at most `room` bytes, None for what the asker takes by UDP.
        """
        try:
            asked = message.read(data)
        except message.Malformed as bad:
            return message.failure(bad.header, message.FORMERR) if bad.header else None
        if asked.flags & message.OPCODE:
            return message.answer(asked, message.NOTIMP, [], own=False)
        if asked.version:
            return message.bad_version(asked)
        found = self.reply(asked, asked.room if room is None else room)
        if found is not None:
            return found
        if asked.kind_class != message.IN or asked.kind in message.TRANSFERS:
            return message.answer(asked, message.REFUSED, [], own=False)
        if asked.kind in PLAIN and message.is_plain(asked.name):
            return message.answer(asked, message.NXDOMAIN, [], own=False)
        return asked

    def ours(self, name: bytes) -> bool:
        """Within the domain: at it, or below it on a label's border."""
        if not name.endswith(self._domain):
            return False
        at, border = 0, len(name) - len(self._domain)
        while at < border:
            at += name[at] + 1
        return at == border

    def reply(self, asked: Question, room: int) -> bytes | None:
        records = self._known.get((asked.name, asked.kind))
        if records is None:
            if not self.ours(asked.name):
                return None
            records = self._find(asked.name, asked.kind)
        if asked.kind_class not in (message.IN, message.ANY) or asked.kind in message.TRANSFERS:
            return message.answer(asked, message.REFUSED, [])
        if records is None:
            return message.answer(asked, message.NXDOMAIN, [], self._authority)
        if asked.kind in _KINDS and len(records) <= TURNS and (usual := message.usual(asked)):
            self.packed[usual] = tuple(self._reply(asked, records, turn, room)[2:] for turn in range(len(records) or 1))
        return self._reply(asked, records, next(self.turn), room)

    def _reply(self, asked: Question, records: list[bytes], turn: int, room: int) -> bytes:
        if not records:
            return message.answer(asked, message.NOERROR, [], self._authority)
        start = turn % len(records)
        return message.fit(asked, records[start:] + records[:start], room)[0]

    def _find(self, wire: bytes, kind: int) -> list[bytes] | None:
        """None when there is no such name."""
        name = message.dotted(wire)
        addresses = self._view.names.get(name)
        if addresses is None:
            return [] if wire == self._domain or name in self._parents() else None
        records = self._made(kind, addresses)
        if kind in _KINDS:
            self._known[wire, kind] = records
        return records

    def _parents(self) -> frozenset[str]:
        """Names with names below them, which exist (RFC 8020)."""
        if self._between is None:
            self._between = frozenset(_between(self._view.names, f".{self._name}"))
        return self._between

    def _made(self, kind: int, addresses: Sequence[str]) -> list[bytes]:
        """Records of the kind; for ANY the first address alone (RFC 8482, 4.1)."""
        if kind == message.ANY:
            return [message.address_record(one, self._ttl) for one in addresses[:1]]
        version = _KINDS.get(kind)
        return [message.address_record(one, self._ttl) for one in addresses if version == (6 if ":" in one else 4)]


def _between(names: Iterable[str], within: str) -> set[str]:
    found: set[str] = set()
    fresh = {name.partition(".")[2] for name in names}
    while fresh := {name for name in fresh - found if name.endswith(within)}:
        found |= fresh
        fresh = {name.partition(".")[2] for name in fresh}
    return found
