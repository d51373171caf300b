"""What an operator may choose about the engine; the defaults are for a node that does other work too."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zlayer.model.units import Bytes, Seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """`trusted` are networks (CIDR) of proxies in front of this one, whose X-Forwarded headers are believed."""

    connections: int = 10_000
    """Of clients, at once. Lowered to what the limit of open files allows."""
    threads: int = min(os.cpu_count() or 1, 4)
    trusted: tuple[str, ...] = ()
    hard_stop: Seconds = Seconds(3600)
    """How long a worker replaced by a reload may finish its long streams."""
    old_workers: int = 50
    """Replaced workers that may live at once; the oldest is ended when there are more."""
    log: bool = True
    log_size: Bytes = Bytes(16 << 20)
    """An access log of this size becomes `access.log.1`, of which there is one."""
    cookie_key: str = ""
    """What sticky cookies are hashed with; nodes that share it send a client to the same replica. Empty: our own."""
    program: str = "haproxy"
