"""The three ways to run a one-off: only its output, with live stdio, or left alone."""

from __future__ import annotations

import binascii
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from zlayer.cli.pull import show
from zlayer.cli.render.progress import Blobs
from zlayer.cli.screen import Screen
from zlayer.client.client import Client
from zlayer.client.results import PullProgress, RunEvent
from zlayer.model.errors import ZlayerError

UNKNOWN = 255


class OneOff:
    """One container through the daemon. Ctrl-C or TERM stops it and waits for its end; a second one stops waiting."""

    def __init__(self, api: Client, screen: Screen, request: Mapping[str, object]) -> None:
        self._api = api
        self._screen = screen
        self._request = dict(request)
        self._id = ""
        self._code: int | None = None
        self._asked = False
        self._blobs = Blobs()

    def detached(self) -> int:
        """Print its id once it is accepted."""
        for event in self._api.run(self._request):
            self._take(event)
        self._screen.data(self._id)
        return 0

    def output(self) -> int:
        """Its output and its exit code, over plain HTTP."""
        with self._stoppable():
            for event in self._api.run(self._request):
                self._take(event)
        return UNKNOWN if self._code is None else self._code

    def session(self) -> int:
        """With live stdin, and a terminal when one was asked for."""
        from zlayer.cli.session import STDIN, Session
        from zlayer.cli.terminal import window

        tty = bool(self._request.get("tty"))
        if tty:
            self._request["rows"], self._request["columns"] = window(STDIN)
        with self._stoppable(), self._api.open_run(self._request) as channel:
            return Session(
                channel,
                stdin=bool(self._request.get("stdin")),
                tty=tty,
                on_note=lambda doc: self._take(RunEvent.of(doc)) if "event" in doc else None,
            ).run()

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """INT and TERM ask the daemon to stop the container, and we read on to its end; the next one ends us.

        The handler returns instead of raising, so an interrupted read goes on where it was (PEP 475).
        """

        def ask(_: int, __: FrameType | None) -> None:
            if self._asked or not self._id:
                raise KeyboardInterrupt
            self._asked = True
            try:
                self._api.remove_container(self._id)
            except ZlayerError as error:
                self._screen.note(f"zlayer: cannot stop it: {error.message}")

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, event: RunEvent) -> None:
        if event.event == "pulling":
            self._pulling(event)
            return
        self._screen.clear()
        self._id = event.id or self._id
        if event.event == "output":
            from zlayer.cli.session import STDERR, STDOUT, write

            write(STDERR if event.stream == "stderr" else STDOUT, binascii.a2b_base64(event.data))
        elif event.event == "exited":
            self._code = event.code
            if event.oom:
                self._screen.note("zlayer: killed: it used more memory than it may (--memory)")
            elif event.reason:
                self._screen.note(f"zlayer: {event.reason}")

    def _pulling(self, event: RunEvent) -> None:
        if event.digest:
            seen = PullProgress(digest=event.digest, phase=event.phase, done=event.done, total=event.total)
            show(self._screen, self._blobs, seen)
