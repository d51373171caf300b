"""Read, compute, commit, and again when someone else was faster: written once, here."""

from __future__ import annotations

import random
from collections.abc import Callable

import anyio

from zlayer.model.errors import Conflict
from zlayer.store.contract import Store

ATTEMPTS = 16
PAUSE = 0.002
"""Seconds of mean pause after the first lost race; it grows with each."""


async def update(
    store: Store, key: str, compute: Callable[[bytes | None], bytes | None], *, attempts: int = ATTEMPTS
) -> int:
    """Make `key` what `compute` says of its current value; the revision at which that holds.

    `compute` gets None where the key does not exist, and returns None to delete it. It must be pure: it is called
    again after each lost race. Where it returns the value it was given, nothing is written. `Conflict` after
    `attempts` lost races; whatever `compute` raises ends the update.
    """
    for attempt in range(attempts):
        item = await store.get(key)
        before = item.value if item else None
        after = compute(before)
        if after == before:
            return item.modified if item else 0
        try:
            return await store.commit(
                puts={} if after is None else {key: after},
                deletes=(key,) if after is None else (),
                expect={key: item.modified if item else 0},
            )
        except Conflict:
            # Jitter keeps writers of one key from racing in step for ever.
            await anyio.sleep(random.random() * 2 * PAUSE * attempt)
    raise Conflict(f"{key} changed under {attempts} attempts to write it", hint="many write it at once: try again")
