"""The bucket before a registry, for one pull: what it has is taken from there, and what it lacks is put down for later.

Blobs and what is named by a digest are asked of the bucket first; what a tag stands for only of the registry. All that
comes from it is verified by digest, as from any registry. A bucket that fails is told once, and neither this pull nor
the next ones ask it for a while; no fault of it fails a pull.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zlayer.image.blobs import digest_of
from zlayer.image.rate import Bucket as Rate
from zlayer.image.reference import Reference, is_digest
from zlayer.image.registry import MAX_MANIFEST, Fetched, Registry
from zlayer.image.registry_retry import FAULTS, Patience
from zlayer.image.s3.answers import translate
from zlayer.image.s3.bucket import Bucket
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.shelf import Entry, Shelf
from zlayer.image.s3.watched import Body, Watched
from zlayer.model.errors import ZlayerError

TRIES = 3
"""Times a blob is asked for, each from the byte the last time reached; one that brought no byte is the last."""
Tell = Callable[[str], None]
"""Hears how the bucket does."""


@dataclass(slots=True)
class _Story:
    """What the bucket did for one blob."""

    opened: int = 0
    at: int = -1
    """The byte it was opened from last."""
    served: bool = False
    """Whether any of its bytes may be the bucket's."""
    ours: bool = False
    """Whether the answer that is read now is."""
    whole: bool = False
    """Whether every byte from the first on is."""
    over: bool = False
    """The bucket does not have it, or not right."""
    wrong: bool = False


def tier_of(
    registry: Registry,
    settings: S3Settings,
    root: Path,
    environ: Mapping[str, str],
    report: Callable[[str, str, int, int], None],
) -> Tier:
    """The bucket of `settings` before a registry; `root` is the data directory. How it does is reported by its name."""

    def tell(did: str) -> None:
        report(f"s3 {settings.bucket}", did, 0, 0)

    return Tier(registry, Bucket(settings, environ), Shelf(root, settings), tell)


class Tier:
    """A `Source` (see `registry_download`). Safe to use from several threads."""

    def __init__(self, registry: Registry, bucket: Bucket, shelf: Shelf, tell: Tell) -> None:
        self._registry, self._s3, self._shelf, self._tell = registry, bucket, shelf, tell
        self._lock = threading.Lock()
        self._stories: dict[str, _Story] = {}
        self._down = not shelf.asked()
        self._answered = False

    @property
    def reference(self) -> Reference:
        return self._registry.reference

    @property
    def bucket(self) -> Rate:
        return self._registry.bucket

    def close(self) -> None:
        self._s3.close()

    def patience(self) -> Patience:
        return self._registry.patience()

    def manifest(self, locator: str) -> Fetched:
        """By digest from the bucket, if it is there; a tag is the registry's to resolve.

        What the bucket calls it is not asked: no digest vouches for that, and the document itself says what it is.
        """
        answer = self._get(locator, 0) if is_digest(locator) else None
        body = self._read(answer, locator, MAX_MANIFEST) if answer is not None else None
        return Fetched(body, locator, "") if body is not None else self._registry.manifest(locator)

    def document(self, digest: str, limit: int) -> bytes:
        answer = self._get(digest, 0)
        body = self._read(answer, digest, limit) if answer is not None else None
        return body if body is not None else self._registry.document(digest, limit)

    def blob(self, digest: str, offset: int = 0) -> Body:
        answer = self._get(digest, offset)
        return answer if answer is not None else self._registry.blob(digest, offset)

    def distrust(self, digest: str) -> bool:
        """Whether wrong content may be the bucket's, or a mirror's: then it is worth asking again."""
        with self._lock:
            story = self._story(digest)
            suspect = story.served and not story.wrong
            if suspect:
                story.wrong = story.over = True
            story.whole = False
        if suspect:
            self._tell(f"has something else as {digest}: asking further, and it will be replaced")
        return suspect or self._registry.distrust(digest)

    def forgives(self, digest: str) -> bool:
        """Whether a fault was the bucket's: then the registry has not been tried yet."""
        with self._lock:
            return self._story(digest).ours

    def kept(self, digest: str, size: int, media_type: str = "") -> None:
        """The blob is here whole; put it down for the bucket, unless it came from there."""
        with self._lock:
            story = self._story(digest)
            if story.whole or not self._shelf.settings.upload:
                return
        try:
            self._shelf.put(Entry(digest, size, media_type, replace=story.wrong))
        except ZlayerError as error:
            self._tell(f"gets nothing of {digest}: {error.message}")

    def _story(self, digest: str) -> _Story:
        return self._stories.setdefault(digest, _Story())

    def _get(self, digest: str, offset: int) -> Watched | None:
        """The bucket's answer, or None: then the registry is to be asked."""
        with self._lock:
            story = self._story(digest)
            story.ours = False
            if not self._ask(story, digest, offset):
                story.whole = False
                return None
            story.opened += 1
            story.at = offset
        try:
            answer = self._s3.get(self._shelf.settings.key(digest), offset)
        except ZlayerError as error:
            answer = None
            self._fail(str(error))
        else:
            self._well()
        with self._lock:
            story.ours = answer is not None
            story.over = answer is None
            story.served = story.served or story.ours
            story.whole = story.ours and (offset == 0 or story.whole)
        return Watched(answer, self._shelf.settings.stall_timeout) if answer is not None else None

    def _ask(self, story: _Story, digest: str, offset: int) -> bool:
        if self._down or story.over:
            return False
        if story.opened and (offset <= story.at or story.opened >= TRIES):
            story.over = self._down = True
            self._put_down(f"it broke off {digest}")
            return False
        return True

    def _read(self, answer: Watched, digest: str, limit: int) -> bytes | None:
        """A small object whole; None when it cannot be had, or is something else."""
        try:
            body = answer.whole(limit)
        except FAULTS as fault:
            self._fail(str(translate(fault, f"S3 bucket {self._shelf.settings.bucket}")))
        else:
            if body is not None and digest_of(body, digest) == digest:
                return body
            self.distrust(digest)
        with self._lock:
            story = self._story(digest)
            story.over, story.whole = True, False
        return None

    def _well(self) -> None:
        with self._lock:
            first, self._answered = not self._answered, True
        if first:
            with suppress(ZlayerError):  # a full disk is for the pull itself to tell
                self._shelf.answered()
            self._tell("answers")

    def _fail(self, why: str) -> None:
        with self._lock:
            known, self._down = self._down, True
            if not known:
                self._put_down(why)

    def _put_down(self, why: str) -> None:
        try:
            self._shelf.failed(why)
        except ZlayerError as error:
            why = f"{why}; {error.message}"
        self._tell(f"failed, asking further: {why}")
