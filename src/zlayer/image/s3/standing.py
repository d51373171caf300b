"""How the S3 tier of a node stands, for people and dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zlayer.model.units import Bytes, Timestamp

State = Literal["ok", "failing", "untried"]


@dataclass(frozen=True, slots=True)
class Standing:
    """`state` is how the bucket answered last: `since` then, with `why` where it failed. `waiting`: blobs to go up.

    `held_up` says why they do not; empty: they do, or nothing waits.
    """

    name: str
    endpoint: str
    state: State
    why: str
    since: Timestamp | None
    waiting: int
    waiting_bytes: Bytes
    held_up: str = ""
