"""An image from one daemon to another, through us: what is missing there is read here and sent on, piece by piece."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

from zlayer.client.client import Client
from zlayer.client.image_results import Parcel, Part
from zlayer.client.record import Record
from zlayer.client.results import Image, PullProgress
from zlayer.model.errors import Conflict, Corrupt, Deadline, Unavailable, ZlayerError

TRIES = 6
"""How often in a row nothing comes through before we give up."""
PAUSE = 1.0
"""Seconds before the second try; each further one waits twice as long, up to `LONGEST`."""
LONGEST = 10.0
EVERY = 0.1
"""Seconds between two reports of one blob's bytes."""
OnProgress = Callable[[PullProgress], None]


class Survey(Record):
    """What would go: `missing` blobs, of which some bytes may be there, and the number of blobs that are there."""

    parcel: Parcel
    missing: tuple[Part, ...]

    @property
    def there(self) -> int:
        return len(self.parcel.blobs) - len(self.missing)

    @property
    def bytes(self) -> int:
        return sum(one.size - one.here for one in self.missing)


class Sent(Record):
    """The image at its new node. `sent` counts bytes that went, `there` blobs that need not."""

    image: Image
    sent: int
    there: int


def survey(source: Client, target: Client, reference: str) -> Survey:
    """What the node `target` lacks of the image `reference` of the node `source`. Changes nothing."""
    parcel = source.parcel(reference)
    return Survey(parcel=parcel, missing=target.missing(parcel))


def send(
    source: Client,
    target: Client,
    reference: str,
    tell: OnProgress = lambda _progress: None,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Sent:
    """Send what is missing, then have it named. A connection that breaks is made anew; what came through counts.

    Errors: those of either node; `Unavailable` and `Deadline` after `TRIES` without a byte more.
    """
    return _Sending(source, target, tell, pause).run(reference)


class _Sending:
    def __init__(self, source: Client, target: Client, tell: OnProgress, pause: Callable[[float], None]) -> None:
        self._source, self._target, self._tell, self._pause = source, target, tell, pause
        self._sent = 0

    def run(self, reference: str) -> Sent:
        parcel = self._source.parcel(reference)
        first: tuple[Part, ...] | None = None
        failures, left = 0, 0
        distrusted: set[str] = set()
        while True:
            try:
                missing = self._target.missing(parcel)
                if first is None:
                    first = missing
                    self._tell_there(parcel, missing)
                rest = sum(one.size - one.here for one in missing)
                failures, left = (0 if rest < left else failures), rest
                for part in missing:
                    self._part(part)
                return Sent(image=self._accepted(parcel), sent=self._sent, there=len(parcel.blobs) - len(first))
            except Corrupt as error:  # what an earlier try left there may be the fault: once more from its first byte
                if error.message in distrusted or first is None:
                    raise
                distrusted.add(error.message)
            except (Unavailable, Deadline, Conflict) as error:
                failures += 1
                if failures >= TRIES or first is None:
                    raise
                self._pause(_wait(error, failures))

    def _tell_there(self, parcel: Parcel, missing: tuple[Part, ...]) -> None:
        lacking = {one.digest for one in missing}
        for one in parcel.blobs:
            phase = "waiting" if one.digest in lacking else "exists"
            self._tell(PullProgress(digest=one.digest, phase=phase, done=0, total=one.size))

    def _part(self, part: Part) -> None:
        pieces = self._counted(part, self._source.read_blob(part))
        try:
            now = self._target.send_blob(part, pieces)
        finally:
            pieces.close()
        if now.here != part.size:
            raise Unavailable(f"{now.here} of {part.size} bytes of {part.digest} came through", hint="send it again")
        self._tell(PullProgress(digest=part.digest, phase="done", done=part.size, total=part.size))

    def _counted(self, part: Part, pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
        done, told = part.here, 0.0
        for piece in pieces:
            if (now := time.monotonic()) - told >= EVERY:
                told = now
                self._tell(PullProgress(digest=part.digest, phase="uploading", done=done, total=part.size))
            yield piece
            done += len(piece)
            self._sent += len(piece)

    def _accepted(self, parcel: Parcel) -> Image:
        for item in self._target.accept(parcel):
            if isinstance(item, Image):
                return item
            self._tell(item)
        raise Unavailable("the node did not say whether it took the image", hint="send it again")


def _wait(error: ZlayerError, failures: int) -> float:
    return max(error.retry_after or 0.0, min(LONGEST, PAUSE * 2.0 ** (failures - 1)))
