"""A live session: our stdin, stdout and stderr joined to a process in a container over a WebSocket."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from zlayer.cli import terminal
from zlayer.client.frames import BINARY, Message
from zlayer.client.websocket import WebSocket

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 32768

OnNote = Callable[[dict[str, object]], None]


class Session:
    """Carries bytes both ways until the other side tells the exit code.

    `on_note` gets every JSON message that is not the exit code (progress of a pull, the id of a one-off).
    Raises the error of the tree the daemon sends instead of an exit code.
    """

    def __init__(self, channel: WebSocket, *, stdin: bool, tty: bool, on_note: OnNote | None = None) -> None:
        self._channel = channel
        self._stdin = stdin
        self._tty = tty
        self._on_note = on_note
        self._code: int | None = None
        self._reading = False
        self._poll = select.poll()

    def run(self) -> int:
        """The exit code. Call once."""
        with ExitStack() as stack:
            resized = stack.enter_context(self._terminal()) if self._tty else -1
            self._channel.unblock()
            if resized >= 0:
                self._poll.register(resized, select.POLLIN)
            try:
                return self._carry(resized)
            finally:
                if resized >= 0:
                    self._poll.unregister(resized)

    @contextmanager
    def _terminal(self) -> Iterator[int]:
        with terminal.resizes() as resized, terminal.raw(STDIN):
            yield resized

    def _carry(self, resized: int) -> int:
        while self._code is None:
            self._listen()
            for descriptor, events in self._ready():
                if descriptor == self._channel.fileno():
                    self._from_channel(events)
                elif descriptor == resized:
                    os.read(resized, 4096)
                    self._channel.send({"resize": list(terminal.window(STDIN))})
                else:
                    self._from_stdin()
        return self._code

    def _listen(self) -> None:
        """Read stdin only while the socket takes what we send, so that a slow reader slows us and not our memory."""
        unsent = self._channel.unsent
        self._poll.register(self._channel.fileno(), select.POLLIN | (select.POLLOUT if unsent else 0))
        if not self._stdin:
            return
        if unsent and self._reading:
            self._poll.unregister(STDIN)
        elif not unsent and not self._reading:
            self._poll.register(STDIN, select.POLLIN)
        self._reading = not unsent

    def _ready(self) -> list[tuple[int, int]]:
        return self._poll.poll(0 if self._channel.pending() else None) or [(self._channel.fileno(), select.POLLIN)]

    def _from_channel(self, events: int) -> None:
        if events & select.POLLOUT:
            self._channel.flush()
        if events & ~select.POLLOUT:
            for message in self._channel.pump():
                self._take(message)
        if self._channel.closed and self._code is None:
            from zlayer.model.errors import Unavailable

            why = self._channel.close_reason or "no exit code was told"
            raise Unavailable(f"the session broke off: {why}", hint="look at `zlayer daemon logs`")

    def _from_stdin(self) -> None:
        try:
            data = os.read(STDIN, CHUNK)
        except OSError:  # closed, or its terminal is gone
            data = b""
        if data:
            self._channel.send(b"\x00" + data)
            return
        self._channel.send({"close_stdin": True})
        self._poll.unregister(STDIN)
        self._stdin = self._reading = False

    def _take(self, message: Message) -> None:
        if message.kind == BINARY:
            write(STDERR if message.data[:1] == b"\x02" else STDOUT, message.data[1:])
            return
        doc = json.loads(message.data)
        if isinstance(problem := doc.get("error"), dict):
            from zlayer.model.errors import from_document

            raise from_document(problem)
        if "exit_code" in doc:
            self._code = 255 if doc["exit_code"] is None else int(doc["exit_code"])
        elif self._on_note:
            self._on_note(doc)


def write(descriptor: int, data: bytes) -> None:
    """All of it. A terminal or pipe that was left non-blocking by somebody is waited for."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())


def want_tty(asked: bool) -> bool:
    """True when a tty was asked for and there is one. `Invalid` when there is none, as docker has it."""
    if asked and not os.isatty(STDIN):
        from zlayer.model.errors import Invalid

        raise Invalid("stdin is no terminal", hint="leave out -t; -i alone passes stdin on")
    return asked
