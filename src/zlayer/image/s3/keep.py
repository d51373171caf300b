"""The job of the worker process that puts into the bucket what waits for it, with what is left of the machine.

Uploads in parts that nobody ended, here or on another node, are ended after a day: S3 keeps and bills their parts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from zlayer.image.blobs import BlobStore
from zlayer.image.rate import Bucket as Rate
from zlayer.image.s3.bucket import Bucket
from zlayer.image.s3.order import Done, KeepOrder
from zlayer.image.s3.send import Hands, send
from zlayer.image.s3.shelf import Shelf
from zlayer.model.errors import Deadline, Failed, Unavailable, ZlayerError

ABANDONED = 86400.0
"""Seconds after which an upload is nobody's any more."""
TRIES = 4
STALL = 60.0
"""Seconds without a byte that break an upload: S3 takes its time to put parts together."""
Report = Callable[[str, str, int, int], None]


def keep(order: KeepOrder, environ: Mapping[str, str], report: Report, clock: Callable[[], float] = time.time) -> Done:
    """Until nothing waits. Errors: the first of the bucket; what was not put yet goes on waiting."""
    stall = max(STALL, order.settings.stall_timeout)
    bucket = Bucket(order.settings, environ, tries=TRIES, stall_timeout=stall)
    hands = Hands(
        bucket, BlobStore(order.root / "blobs"), Shelf(order.root, order.settings), Rate(order.settings.limit_rate)
    )
    try:
        done = _put_all(hands, report)
        hands.shelf.answered()
        return Done(**done, aborted=_end_abandoned(hands, clock()))
    except (Unavailable, Deadline) as error:
        hands.shelf.failed(str(error))
        raise
    finally:
        bucket.close()


def _put_all(hands: Hands, report: Report) -> dict[str, int]:
    counts: Counter[str] = Counter()
    refused: Failed | None = None
    for entry in list(hands.shelf.waiting()):
        try:
            outcome = send(hands, entry)
        except Failed as error:  # it alone may be refused: the others get their turn
            refused = refused or error
            continue
        counts[outcome] += 1
        if outcome == "sent":
            counts["bytes"] += entry.size
        report(entry.digest, outcome, entry.size, entry.size)
    if refused is not None:
        raise refused
    return dict(counts)


def _end_abandoned(hands: Hands, now: float) -> int:
    """Not every key may list uploads, and not every server can: then the bucket's own rules must end them."""
    try:
        mine = {entry.upload.id for entry in hands.shelf.waiting() if entry.upload is not None}
        old = [u for u in hands.bucket.uploads() if now - u.initiated > ABANDONED and u.upload not in mine]
        for one in old:
            hands.bucket.abort(one.key, one.upload)
    except ZlayerError:
        return 0
    return len(old)
