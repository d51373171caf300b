"""Exponential back-off with jitter, as pure arithmetic."""

from __future__ import annotations

import hashlib

FIRST = 0.5
LIMIT = 60.0
STABLE = 60.0
"""Seconds a container must have run for its earlier failures to be forgotten."""


def delay(failures: int, key: str, *, first: float = FIRST, limit: float = LIMIT) -> float:
    """Seconds to wait after the n-th failure in a row (n from 1): first * 2^(n-1), at most `limit`, less 0-25 %.

    The jitter is a function of `key`, so that a plan is deterministic and replicas still spread out.
    """
    if failures <= 0:
        return 0.0
    whole = min(limit, first * 2.0 ** min(failures - 1, 16))
    spread = int.from_bytes(hashlib.sha256(f"{key}/{failures}".encode()).digest()[:2], "big") / 65536
    return whole * (1 - 0.25 * spread)
