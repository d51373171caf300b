"""Progress of pulls and deploys: bars to be redrawn on a terminal, plain lines anywhere else."""

from __future__ import annotations

from zlayer.cli.render.colour import paint, visible
from zlayer.cli.render.colour import state as coloured
from zlayer.cli.render.times import size
from zlayer.client.results import Deployment, ProgressEvent, PullProgress, ServiceSummary

BAR = 24
FINISHED = frozenset({"done", "exists", "mounted"})


def bar(done: int, total: int, width: int = BAR) -> str:
    """`[#####-----]`; without a known total it stays empty."""
    filled = min(width, done * width // total) if total > 0 else 0
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def blob(progress: PullProgress) -> str:
    """One blob of a pull or push as a line; or how a mirror or S3 did."""
    name = _named(progress)
    if progress.phase in FINISHED:
        return f"{name}  {'already there' if progress.phase == 'exists' else progress.phase}"
    if progress.phase in {"downloading", "uploading"} and progress.total:
        amount = f"{size(progress.done)} / {size(progress.total)}"
        return f"{name}  {bar(progress.done, progress.total)} {amount}"
    return f"{name}  {progress.phase}"


def _named(progress: PullProgress) -> str:
    return progress.digest if progress.digest.startswith(("mirror ", "s3 ")) else short(progress.digest)


def short(digest: str) -> str:
    """Twelve hex digits of a digest, as people know them."""
    return digest.partition(":")[2][:12] or digest[:12]


class Blobs:
    """The blobs of a pull so far: `lines()` to draw, `news()` for the lines a log wants (changes of phase only)."""

    def __init__(self) -> None:
        self._blobs: dict[str, PullProgress] = {}

    def add(self, progress: PullProgress) -> None:
        self._blobs[progress.digest] = progress

    def news(self, progress: PullProgress) -> str | None:
        """A line when this blob entered a phase, else None; also records it."""
        before = self._blobs.get(progress.digest)
        self.add(progress)
        if before and before.phase == progress.phase:
            return None
        return f"{_named(progress)} {progress.phase}"

    def lines(self, width: int = 80, height: int = 20) -> list[str]:
        """One line per blob, the unfinished ones first when they do not all fit."""
        blobs = list(self._blobs.values())
        if len(blobs) > height:
            blobs.sort(key=lambda each: each.phase in FINISHED)
            blobs = blobs[:height]
        return [blob(each)[: width - 1] for each in blobs]


def service(summary: ServiceSummary, *, colour: bool, name_width: int) -> str:
    """`web   2/3 ready  [####----]`."""
    text = f"{summary.ready}/{summary.desired} ready"
    done = paint(text, "green" if summary.stable else "yellow", colour=colour)
    return f"{summary.name.ljust(name_width)}  {done}  {bar(summary.ready, summary.desired, 12)}"


def deployment(summary: Deployment, latest: dict[str, ProgressEvent], *, colour: bool, width: int) -> list[str]:
    """The deployment and its services, each with what it waits for or the latest that happened to it."""
    wide = max((len(s.name) for s in summary.services), default=0)
    out = [f"{summary.deployment}  {coloured(summary.status, colour=colour)}"]
    for each in summary.services:
        line = f"  {service(each, colour=colour, name_width=wide)}"
        item = latest.get(each.name)
        told = visible(each.note) or (event(item) if item else "")
        if told and not each.stable:
            room = width - wide - 34
            line += f"  {told[: max(0, room)]}"
        out.append(line)
    return out


def event(item: ProgressEvent) -> str:
    """A progress event as a plain line: `web-1: started`."""
    who = replica(item) or item.service
    what = visible(item.message) or item.kind.rpartition(".")[2]
    return f"{who}: {what}" if who else visible(item.message) or item.kind


def replica(item: ProgressEvent) -> str:
    """`web-1` of the instance `shop-web-1-x7k2`; empty when the event is about no instance."""
    slot = item.instance.rpartition("-")[0].rpartition("-")[2]
    return f"{item.service}-{slot}" if item.service and slot.isdecimal() else ""
