"""`zlayer up` in the foreground: progress, then logs, and Ctrl-C that stops what it started."""

from __future__ import annotations

import argparse
import threading
import time

from zlayer.cli import deploy, follow
from zlayer.cli.render.logs import Prefixer
from zlayer.cli.render.times import rfc3339
from zlayer.cli.screen import Screen
from zlayer.client.calls import LogQuery
from zlayer.client.client import Client
from zlayer.client.results import Accepted, Deployment
from zlayer.model.errors import NotFound, Unsupported, ZlayerError

STOP_TIMEOUT = 60.0
INTERRUPTED = 130
LAST_LINES = 0.2
"""Seconds the logs have to show what was written before the end."""


class Foreground:
    """Stays until the deployment is stopped or removed, here or elsewhere.

    The first Ctrl-C asks for a graceful stop and waits for it, the second kills. Containers do not depend on us: when
    this process is killed they run on.
    """

    def __init__(self, api: Client, accepted: Accepted, screen: Screen, args: argparse.Namespace) -> None:
        self._api = api
        self._name = accepted.deployment
        self._changed = accepted.changed
        self._over = False
        self._screen = screen
        self._timeout: float = args.timeout
        self._prefixer = Prefixer(colour=screen.colour, prefix=not args.no_prefix, timestamps=args.timestamps)

    def run(self) -> int:
        logs = threading.Thread(target=self._logs, args=(time.time(),), daemon=True)
        try:
            deploy.settle(self._api, self._name, self._screen, self._timeout, changed=self._changed)
            logs.start()
            return self._stay()
        except KeyboardInterrupt:
            return self._stop()
        finally:
            if logs.ident:
                logs.join(LAST_LINES)
            self._over = True

    def _stay(self) -> int:
        """Return once it is stopped or gone without us."""
        try:
            for item in follow.watch(self._api, self._name, None):
                if isinstance(item, Deployment) and item.status == "stopped":
                    self._screen.note(f"{self._name} is stopped")
                    return 0
        except NotFound:
            self._screen.note(f"{self._name} is gone")
        return 0

    def _logs(self, started: float) -> None:
        """Print what is written, from the start of this `up`, without a gap when the daemon restarts."""
        last: dict[str, str] = {}  # of each instance, when its latest line was written
        while True:
            since = min(last.values(), default=rfc3339(started))
            try:
                for line in self._api.logs(self._name, LogQuery(lines=None, since=since, follow=True)):
                    at = rfc3339(line.at)
                    if self._over:
                        return
                    if at > last.get(line.instance, ""):
                        last[line.instance] = at
                        self._screen.data(self._prefixer.line(line))
            except NotFound:
                return
            except ZlayerError:  # the daemon is away; its containers write on
                pass
            except OSError:  # nobody reads our output any more
                return
            time.sleep(0.5)

    def _stop(self) -> int:
        self._screen.note(f"\nstopping {self._name} (Ctrl-C again kills)")
        try:
            self._end(None)
        except KeyboardInterrupt:
            self._screen.note(f"\nkilling {self._name}")
            try:
                self._end(0)
            except Unsupported as error:
                self._screen.note(f"{error.message}; {self._name} goes on stopping without us")
        return INTERRUPTED

    def _end(self, grace: float | None) -> None:
        self._api.stop(self._name, grace=grace)
        follow.until(self._api, self._name, self._screen, follow.stopped(None), timeout=STOP_TIMEOUT)
