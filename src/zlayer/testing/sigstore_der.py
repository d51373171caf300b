"""DER as written for tests: what a timestamp authority answers, and lists of SCTs."""

from __future__ import annotations


def node(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + body


def sequence(*parts: bytes) -> bytes:
    return node(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return node(0x31, *sorted(parts))


def number(value: int) -> bytes:
    return node(2, value.to_bytes(value.bit_length() // 8 + 1))


def octets(content: bytes) -> bytes:
    return node(4, content)


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    body = bytearray()
    for value in (first * 40 + second, *rest):
        digits = [value & 0x7F]
        while value := value >> 7:
            digits.append(value & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return node(6, bytes(body))
