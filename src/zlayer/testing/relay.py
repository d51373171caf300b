"""A TCP relay on loopback that counts what goes either way, and may cut the line or act at some byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

CHUNK = 1 << 16


class Relay:
    """Passes connections on to `port` while the context lasts. `sent` and `answered` count the bytes either way.

    `at` of those sent `act` is called, once; when it returns False, the connection that carried them is cut.
    """

    def __init__(self, port: int, *, at: int = 0, act: Callable[[], bool] = lambda: True) -> None:
        self._target = port
        self._at, self._act = at, act
        self._lock = threading.Lock()
        self._acted = not at
        self.sent = self.answered = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]

    def __enter__(self) -> Relay:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as target:
            back = threading.Thread(target=self._answer, args=(target, client), daemon=True)
            back.start()
            try:
                while data := client.recv(CHUNK):
                    target.sendall(data)
                    if not self._counted(len(data)):
                        return
                target.shutdown(socket.SHUT_WR)
                back.join()
            finally:  # to close is not enough while the other thread reads
                for each in (client, target):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def _counted(self, count: int) -> bool:
        with self._lock:
            self.sent += count
            if self._acted or self.sent < self._at:
                return True
            self._acted = True
        return self._act()

    def _answer(self, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := target.recv(CHUNK):
                client.sendall(data)
                with self._lock:
                    self.answered += len(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
