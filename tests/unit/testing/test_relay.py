"""The relay of tests (zlayer.testing.relay)."""

from __future__ import annotations

import socket

from zlayer.testing.relay import Relay


def test_it_counts_and_cuts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        acted: list[int] = []

        def cut() -> bool:
            acted.append(1)
            return False

        with Relay(door.getsockname()[1], at=5, act=cut) as relay:
            client = socket.create_connection(("127.0.0.1", relay.port))
            server, _ = door.accept()
            with client, server:
                client.sendall(b"abc")
                assert server.recv(3) == b"abc"
                server.sendall(b"back")
                assert client.recv(4) == b"back"
                client.sendall(b"def")
                assert server.recv(3) == b"def"
                assert server.recv(1) == b""
                assert client.recv(1) == b""
        assert (relay.sent, acted) == (6, [1])
