"""DER, as much as a signed timestamp takes: definite lengths, low tags, nothing left over. Source: ITU-T X.690."""

from __future__ import annotations

from dataclasses import dataclass

INTEGER, OCTETS, OID, UTF8, GENERALIZED = 0x02, 0x04, 0x06, 0x0C, 0x18
SEQUENCE, SET = 0x30, 0x31


@dataclass(frozen=True, slots=True)
class Node:
    """A tag, its content, and both as they were encoded."""

    tag: int
    body: bytes
    whole: bytes

    def parts(self) -> list[Node]:
        """What a constructed node holds. Errors: `ValueError`."""
        if not self.tag & 0x20:
            raise ValueError("a value where a structure should be")
        made, at = [], 0
        while at < len(self.body):
            made.append(_node(self.body, at))
            at += len(made[-1].whole)
        return made

    def wants(self, tag: int) -> Node:
        """Itself, when it is that. Errors: `ValueError`."""
        if self.tag != tag:
            raise ValueError(f"tag {self.tag:#x} where {tag:#x} should be")
        return self

    def number(self) -> int:
        return int.from_bytes(self.wants(INTEGER).body, signed=True)

    def oid(self) -> str:
        """In dots. Errors: `ValueError`."""
        numbers, value = [], 0
        for byte in self.wants(OID).body:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        if not numbers:
            raise ValueError("an empty object identifier")
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def read(data: bytes) -> Node:
    """The one node that all of `data` is. Errors: `ValueError`."""
    node = _node(data, 0)
    if len(node.whole) != len(data):
        raise ValueError("bytes after the end")
    return node


def _node(data: bytes, at: int) -> Node:
    if len(data) - at < 2 or data[at] & 0x1F == 0x1F:
        raise ValueError("cut short, or a tag that is not used here")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size]), start + size
        if not 1 <= size <= 4 or length < (0x80 if size == 1 else 1 << 8 * (size - 1)):
            raise ValueError("a length that is not DER")
    if start + length > len(data):
        raise ValueError("cut short")
    return Node(data[at], data[start : start + length], data[at : start + length])
