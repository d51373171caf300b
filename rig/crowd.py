"""The load's process, as the rest of the rig sees it: begun, counted, ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diary import Diary, Row
from load import PATIENCE, Order

SCRIPT = Path(__file__).parent / "load.py"
PLAIN = {"new": 3, "keepalive": 3, "websocket": 6, "slow": 10}
TLS = {"tls": 1, "http2": 2}


class Crowd:
    """`count` takes what was counted since the last time. In a session of its own: Ctrl-C is for the rig."""

    def __init__(self, order: Order, diary: Diary, around: Sequence[str] = ()) -> None:
        self._diary = diary
        argv = [*around, sys.executable, str(SCRIPT), json.dumps(asdict(order))]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def count(self) -> Row:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._row(self._process.stdout.readline())

    def end(self) -> Row:
        """Nothing new is begun; what is under way is waited for, and counted."""
        told, _ = self._process.communicate(timeout=PATIENCE + 10)
        return self._row(told)

    def abandon(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _row(self, told: str) -> Row:
        if not told:
            raise RuntimeError(f"the load has ended by itself, with {self._process.wait()}")
        document: Mapping[str, Any] = json.loads(told)
        return Row.of(document, self._diary)


@contextmanager
def crowd(order: Order, diary: Diary, around: Sequence[str] = ()) -> Iterator[Crowd]:
    """Ended by the caller; where that does not come about, by force."""
    made = Crowd(order, diary, around)
    try:
        yield made
    finally:
        made.abandon()
