"""What this process takes, from the kernel (proc(5))."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from zlayer.model.units import Bytes

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Taken:
    """`cpu_seconds` is user and system time of all threads, without that of children."""

    cpu_seconds: float
    resident: Bytes
    descriptors: int
    most_descriptors: int


def taken() -> Taken:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Taken(time.process_time(), rss_bytes(), sum(1 for _ in (_SELF / "fd").iterdir()), soft)


def rss_bytes() -> Bytes:
    """Resident memory of this process."""
    return Bytes(int((_SELF / "statm").read_text("ascii").split()[1]) * _PAGE)
