from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest

from zlayer.model.fabric import Transport
from zlayer.network.holders import UNKNOWN, holder

pytestmark = pytest.mark.root
T = TypeVar("T")
Inside = Callable[[Callable[[], T]], T]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_who_has_a_port(inside: Inside[list[str]], transport: Transport) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM

    def body() -> list[str]:
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("0.0.0.0", 8080))
            if transport == "tcp":
                other.listen()
            return [
                holder(transport, 8080),
                holder(transport, 8080, but=[os.getpid()]),
                holder(transport, 8081),
                holder("udp" if transport == "tcp" else "tcp", 8080),
            ]

    first, *others = inside(body)
    assert first.endswith(f" (pid {os.getpid()})")
    assert others == [UNKNOWN] * 3
