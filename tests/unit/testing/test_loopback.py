"""A loopback server serves while it is open, turns TLS away, and is gone afterwards."""

from __future__ import annotations

import socket
from http.client import HTTPConnection

import pytest

from zlayer.testing.registry_writable import WritableRegistry


def test_it_serves_and_is_gone() -> None:
    with WritableRegistry() as registry:
        host, _, port = registry.address.partition(":")
        connection = HTTPConnection(host, int(port), timeout=5)
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
        with socket.create_connection((host, int(port)), timeout=5) as hello:
            hello.sendall(b"\x16\x03")
            assert hello.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
