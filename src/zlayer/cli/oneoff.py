"""A one-off in the foreground, joined to our stdio, or in the background."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from zlayer.cli.pull import show
from zlayer.cli.render.progress import Blobs
from zlayer.cli.screen import Screen
from zlayer.cli.session import STDIN, Session
from zlayer.cli.terminal import window
from zlayer.client.client import Client
from zlayer.client.results import PullProgress, RunEvent
from zlayer.client.websocket import WebSocket

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class OneOff:
    """One container through the daemon.

    Signals go to the container as docker's do. A second Ctrl-C kills it (a first process without a handler of its own
    ignores the first), a third leaves. Before it exists, a signal ends us and the daemon drops the wish.
    """

    def __init__(self, api: Client, screen: Screen, request: Mapping[str, object]) -> None:
        self._api = api
        self._screen = screen
        self._request = dict(request)
        self._id = ""
        self._interrupts = 0
        self._blobs = Blobs()

    def detached(self) -> int:
        """Print its id once it runs; 1 when it ended badly at once."""
        code: int | None = 0
        for event in self._api.run(self._request):
            self._take(event)
            if event.event == "exited":
                code = event.code
        self._screen.data(self._id)
        return 1 if code is None else code

    def attached(self) -> int:
        """Its exit code, 255 when nobody could know it."""
        tty = bool(self._request.get("tty"))
        if tty:
            self._request["rows"], self._request["columns"] = window(STDIN)
        with self._api.open_run(self._request) as channel, self._forwarding(channel):
            return Session(channel, stdin=bool(self._request.get("stdin")), tty=tty, on_note=self._note).run()

    def _note(self, doc: Mapping[str, object]) -> None:
        if "event" in doc:
            self._take(RunEvent.of(doc))

    @contextmanager
    def _forwarding(self, channel: WebSocket) -> Iterator[None]:
        def forward(number: int, _: FrameType | None) -> None:
            self._interrupts += number == signal.SIGINT
            if not self._id or self._interrupts > 2:
                raise KeyboardInterrupt
            if self._interrupts == 2 and number == signal.SIGINT:
                number = signal.SIGKILL
                self._screen.note("zlayer: killing it")
            channel.send({"signal": signal.Signals(number).name})

        before = {number: signal.signal(number, forward) for number in FORWARDED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, event: RunEvent) -> None:
        if event.event == "pulling":
            if event.digest and event.phase != "exists":
                seen = PullProgress(digest=event.digest, phase=event.phase, done=event.done, total=event.total)
                show(self._screen, self._blobs, seen)
            return
        self._screen.clear()
        self._id = event.id or self._id
        if event.event != "exited":
            return
        if event.oom:
            self._screen.note("zlayer: killed: it used more memory than it may (--memory)")
        elif event.reason:
            self._screen.note(f"zlayer: {event.reason}")
