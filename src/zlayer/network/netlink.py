"""A small rtnetlink socket: requests with acknowledgement, dumps, attributes; the kernel's own words in errors.

Formats: linux/netlink.h, linux/rtnetlink.h (RFC 3549). A socket keeps the network namespace it was opened in, so one
opened inside a container's namespace goes on configuring it from anywhere. Blocking, not thread-safe: one owner.
Failures are `OSError` with the kernel's errno and, when it gave one, its extended-ack text.
"""

from __future__ import annotations

import errno as errnos
import os
import socket
import struct
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_ROOT_MATCH = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_ACK_TLVS, NLM_F_DUMP_INTR = 0x200, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
ANSWER_BYTES = 65536
STALL_SECONDS = 10.0
DUMP_TRIES = 5


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = 4 + len(payload)
    return ATTRIBUTE.pack(size, kind) + payload + b"\0" * (-size & 3)


def text_attr(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def u32_attr(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack("=I", value))


def nested(kind: int, *parts: bytes) -> bytes:
    return attr(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attribute type -> payload of the bytes from `offset` on. Truncated tails are ignored, as the kernel does."""
    return dict(_attributes(data, offset))


def attribute(data: bytes, wanted: int, offset: int = 0) -> bytes | None:
    """The payload of the first of one type; nothing after it is looked at."""
    return next((payload for kind, payload in _attributes(data, offset) if kind == wanted), None)


def _attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    end = len(data)
    while offset + 4 <= end:
        size, kind = ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            break
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def as_text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="replace")


def as_u32(payload: bytes) -> int:
    return int(struct.unpack_from("=I", payload)[0])


class Netlink:
    """One netlink socket, opened in the calling thread's network namespace. Close it, or use `with`.

    `groups` is a mask of multicast groups (RTMGRP_LINK, ...) whose notices `notices` yields. `protocol` is rtnetlink's,
    or NETLINK_NETFILTER for nfnetlink, whose requests begin with a `struct nfgenmsg`.
    """

    def __init__(self, groups: int = 0, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            try:
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            except OSError:  # an older kernel: errors are told without words, dumps are not filtered
                continue
        self._socket.settimeout(STALL_SECONDS)  # never reached on a healthy kernel; better than hanging on a bug
        self._socket.bind((0, groups))

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Do it and wait for the acknowledgement. Raises `OSError` with the kernel's errno and words."""
        self.requests((kind, body, flags))

    def requests(self, *messages: tuple[int, bytes, int]) -> None:
        """Several in order with one system call each way. Raises the first failure; later ones were tried too."""
        first, last = self._sequence + 1, len(messages) - 1
        # only the last asks for an acknowledgement: failures are told without being asked for
        packed = [
            self._pack(kind, body, flags | NLM_F_ACK if number == last else flags)
            for number, (kind, body, flags) in enumerate(messages)
        ]
        self._socket.send(b"".join(packed))
        for _ in self._answers(first):
            pass

    def query(self, kind: int, body: bytes) -> bytes:
        """The payload of the one object asked for. Raises `OSError` (ENODEV and friends) when there is none."""
        self._send(kind, body, NLM_F_ACK)
        answers = list(self._answers(self._sequence))
        if not answers:
            raise OSError(errnos.ENODATA, "the kernel acknowledged a query without an answer")
        return answers[0]

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Every object of a kind; asked again when the kernel says that it changed under the dump."""
        for _ in range(DUMP_TRIES):
            self._send(kind, body, NLM_F_ROOT_MATCH)
            try:
                return list(self._answers(self._sequence))
            except InterruptedError:
                continue
        raise OSError(errnos.EBUSY, "the kernel's table kept changing while it was read")

    def post(self, kind: int, body: bytes) -> None:
        """Send a request for `notices` to follow. Blocks until the kernel has done it: call it from another thread."""
        self._send(kind, body, NLM_F_ACK)

    def notices(self) -> Iterator[tuple[int, bytes]]:
        """Kind and payload of whatever arrives, multicasts included, until an acknowledgement ends it or raises."""
        while True:
            for kind, flags, _, payload in self._receive():
                if kind not in {NLMSG_ERROR, NLMSG_DONE}:
                    yield kind, payload
                    continue
                if failure := _failure(payload, flags, done=kind == NLMSG_DONE):
                    raise failure
                return

    def _pack(self, kind: int, body: bytes, flags: int) -> bytes:
        self._sequence += 1
        return HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0) + body

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._socket.send(self._pack(kind, body, flags))

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, sequence and payload of each message of one datagram."""
        data = self._socket.recv(ANSWER_BYTES)
        offset = 0
        while offset + HEADER.size <= len(data):
            size, kind, flags, number, _ = HEADER.unpack_from(data, offset)
            yield kind, flags, number, data[offset + HEADER.size : offset + size]
            offset += (size + 3) & ~3

    def _answers(self, first: int) -> Iterator[bytes]:
        """Payloads up to the acknowledgement of the last request or the end of its dump.

        Requests from `first` on count: the first failure among them is raised. Late answers to older ones are dropped.
        """
        changed, failure = False, None
        while True:
            for kind, flags, number, payload in self._receive():
                if not first <= number <= self._sequence:
                    continue
                changed = changed or bool(flags & NLM_F_DUMP_INTR)
                if kind not in {NLMSG_ERROR, NLMSG_DONE}:
                    yield payload
                    continue
                failure = failure or _failure(payload, flags, done=kind == NLMSG_DONE)
                if number < self._sequence:
                    continue
                if failure:
                    raise failure
                if changed:
                    raise InterruptedError(errnos.EINTR, "the table changed under the dump")
                return


def _failure(payload: bytes, flags: int, *, done: bool) -> OSError | None:
    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
    if code <= 0:
        return None
    # with NETLINK_CAP_ACK an error repeats the request's header only; a dump's end repeats nothing
    words = attributes(payload, 4 if done else 4 + HEADER.size) if flags & NLM_F_ACK_TLVS else {}
    said = as_text(words[NLMSGERR_ATTR_MSG]) if NLMSGERR_ATTR_MSG in words else ""
    return OSError(code, f"{os.strerror(code)}: {said}" if said else os.strerror(code))
