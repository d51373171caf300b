"""Which program of this machine has a port, for messages: sockets of the caller's network namespace (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from zlayer.model.fabric import Transport

LISTEN = "0A"
UNKNOWN = "another program"


def holder(transport: Transport, port: int, *, but: Collection[int] = ()) -> str:
    """Whoever has it first, as `nginx (pid 12)`; `another program` when that cannot be seen. `but` are pids of ours.

    Looks at every process: for what is refused, not for what works.
    """
    return next(_holders(transport, port, but), UNKNOWN)


def _holders(transport: Transport, port: int, but: Collection[int]) -> Iterator[str]:
    inodes = set(_inodes(transport, port))
    for entry in os.listdir("/proc") if inodes else ():  # noqa: PTH208 (names only)
        if not entry.isdigit() or int(entry) in but:
            continue
        with suppress(OSError):
            if any(_link(file) in inodes for file in Path(f"/proc/{entry}/fd").iterdir()):
                yield f"{Path(f'/proc/{entry}/comm').read_text().strip()} (pid {entry})"


def _link(file: Path) -> str:
    """Empty when it has been closed meanwhile, as the one that listed it has."""
    try:
        return str(file.readlink())
    except OSError:
        return ""


def _inodes(transport: Transport, port: int) -> Iterator[str]:
    for family in ("", "6"):
        with suppress(OSError):
            for line in Path(f"/proc/thread-self/net/{transport}{family}").read_text().splitlines()[1:]:
                parts = line.split()
                local = int(parts[1].rpartition(":")[2], 16)
                if local == port and (transport == "udp" or parts[3] == LISTEN) and parts[9] != "0":
                    yield f"socket:[{parts[9]}]"
