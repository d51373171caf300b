"""Follow a deployment until it is where it was wished to be, drawing its progress; and say why when it is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from zlayer.cli.render import progress
from zlayer.cli.render.colour import visible
from zlayer.cli.screen import Screen
from zlayer.client.calls import LogQuery
from zlayer.client.client import Client
from zlayer.client.results import Container, Deployment, ProgressEvent
from zlayer.model.errors import Deadline, Failed, NotFound, Unavailable, ZlayerError

LOOK_AGAIN = 2.0
"""Seconds of silence after which the summary is read again, should an event have been lost with a daemon."""
LOG_LINES = 10
BEARABLE = 1.5
"""Seconds a deployment that is well but for its traffic is given for that: a port may just be changing hands."""


def watch(
    api: Client, name: str, timeout: float | None, *, look_again: float = LOOK_AGAIN
) -> Iterator[Deployment | ProgressEvent]:
    """Summaries and progress, across restarts of the daemon. `Deadline` after `timeout` seconds in all.

    Without a timeout it waits for the daemon to come back however long that takes.
    """
    end = None if timeout is None else time.monotonic() + timeout
    told: set[ProgressEvent] = set()
    while True:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            raise Deadline(f"{name} was not there after {timeout:g} seconds")
        try:
            for item in api.follow(name, patience=look_again if left is None else min(look_again, left)):
                if isinstance(item, ProgressEvent):
                    if item in told:
                        continue
                    told.add(item)
                yield item
                if end is not None and time.monotonic() > end:
                    break
        except Deadline:
            continue
        except Unavailable:
            time.sleep(0.2)


class Progress:
    """What is drawn while a deployment settles: redrawn in place on a terminal, a line per event elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._latest: dict[str, ProgressEvent] = {}
        self._summary: Deployment | None = None
        self._noted: dict[str, str] = {}

    def add(self, item: Deployment | ProgressEvent) -> None:
        if isinstance(item, Deployment):
            self._summary = item
        else:
            self._latest[item.service] = item
        if self._screen.live:
            self.draw()
        else:
            self._print(item)

    def _print(self, item: Deployment | ProgressEvent) -> None:
        """Lines for a log: what the plan has said already is not said again, nor a note of which a number changed."""
        if isinstance(item, ProgressEvent):
            if item.kind != "instance.created" or item.message.startswith("restart"):
                self._screen.note(progress.event(item))
            return
        for each in item.services:
            gist = " ".join(each.note.split(maxsplit=2)[:2])
            if gist and gist != self._noted.get(each.name):
                self._noted[each.name] = gist
                self._screen.note(visible(each.note))

    def draw(self) -> None:
        if self._summary and self._screen.live:
            screen = self._screen
            lines = progress.deployment(self._summary, self._latest, colour=screen.err_colour, width=screen.width)
            screen.draw(lines)

    def done(self) -> None:
        self.draw()
        self._screen.keep()


def until(
    api: Client,
    name: str,
    screen: Screen,
    reached: Callable[[Deployment], bool],
    *,
    timeout: float,
    goal: str = "stable",
) -> Deployment:
    """Follow until `reached`, which is `goal` in a word.

    `Failed` or `Deadline` name the replica that is to blame, its reason and the last lines of its log.
    """
    drawn = Progress(screen)
    patience = Patience()
    try:
        for item in watch(api, name, timeout):
            drawn.add(item)
            if isinstance(item, Deployment):
                if reached(item):
                    drawn.done()
                    return item
                if patience.over(item):
                    drawn.done()
                    raise Failed(
                        _unserved(item), hint=f"`zlayer ps` shows whether it still is; `zlayer down {name}` ends it"
                    )
                if item.status == "rolled_back":
                    raise blamed(api, name, Failed, f"{name} was rolled back: {item.message}", item.culprit)
                if item.status.startswith("failed"):
                    raise blamed(api, name, Failed, item.message or f"{name} failed", item.culprit)
    except Deadline:
        drawn.done()
        raise blamed(api, name, Deadline, f"{name} was not {goal} after {timeout:g} seconds") from None
    raise Unavailable(f"the daemon stopped telling about {name}")


def holds(api: Client, name: str, seconds: float) -> bool:
    """True when it stays stable that long; False as soon as it does not."""
    try:
        for item in watch(api, name, seconds, look_again=seconds):
            if isinstance(item, Deployment) and not stable(item):
                return False
    except Deadline:
        return True
    return False


class Patience:
    """With a deployment whose replicas are all well and which cannot have its traffic."""

    def __init__(self) -> None:
        self._since: float | None = None

    def over(self, summary: Deployment) -> bool:
        if not summary.trouble or not well(summary):
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since > BEARABLE


def _unserved(summary: Deployment) -> str:
    told = "".join(f"\n  {one}" for one in dict.fromkeys(map(str, summary.trouble)))
    return f"{summary.deployment} runs, and not all of its traffic can be served:{told}"


def well(summary: Deployment) -> bool:
    """Every replica is as wanted."""
    return summary.status == "running" and all(service.stable for service in summary.services)


def stable(summary: Deployment) -> bool:
    """It is well, and what it is to be reached by is in force."""
    return well(summary) and not summary.trouble


def stopped(service: str | None) -> Callable[[Deployment], bool]:
    """True once nothing of the deployment, or of one service, is left to stop."""

    def reached(summary: Deployment) -> bool:
        if service is None:
            return summary.status == "stopped"
        return any(s.name == service and s.desired == 0 and s.stable for s in summary.services)

    return reached


def until_gone(api: Client, name: str, screen: Screen, timeout: float) -> None:
    """Follow until the deployment is no more."""
    drawn = Progress(screen)
    try:
        for item in watch(api, name, timeout, look_again=0.25):
            drawn.add(item)
    except NotFound:
        screen.clear()
    except Deadline:
        raise blamed(api, name, Deadline, f"{name} was not gone after {timeout:g} seconds") from None


def blamed(api: Client, name: str, kind: type[ZlayerError], message: str, named: str = "") -> ZlayerError:
    """The error with the reason and the end of the log of the replica named, else of the worst, as far as known."""
    try:
        listed = api.containers(name)
        culprit = next((c for c in listed if c.id == named), None) or worst(listed)
        if culprit is None:
            return kind(message, hint=f"look at `zlayer ps -c --deployment {name}`")
        tail = [line.data for line in api.instance_logs(culprit.id, LogQuery(lines=LOG_LINES))]
    except ZlayerError:
        return kind(message)
    who = f"{culprit.service}-{culprit.replica}"
    why = culprit.reason or (f"{culprit.state} ({culprit.exit_code})" if culprit.exit_code else culprit.state)
    text = message + ("" if why in message else f"\n  {who}: {why}") + "".join(f"\n  | {line}" for line in tail)
    return kind(
        text, hint=f"`zlayer logs --deployment {name} {culprit.service}` shows more; `zlayer down {name}` ends it"
    )


def worst(containers: tuple[Container, ...]) -> Container | None:
    """The container to show: one that ended badly, else one that is unhealthy or not up yet; the newest of them."""

    def badness(c: Container) -> tuple[int, str]:
        ended = c.state in {"failed", "lost"} or (c.state == "exited" and c.exit_code != 0)
        waiting = c.state in {"pending", "initializing"} or c.health in {"unhealthy", "starting"}
        return 3 if ended else 2 if c.health == "unhealthy" else 1 if waiting else 0, c.created_at or ""

    bad = [c for c in containers if badness(c)[0]]
    return max(bad, key=badness, default=None)
