from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zlayer.client import process
from zlayer.model.errors import Deadline
from zlayer.model.paths import Paths

HOLD = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(f"{os.getpid()}\\n"); lock.flush()
if sys.argv[2] == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("held", flush=True)
signal.pause()
"""


@contextmanager
def daemon(paths: Paths, manner: str = "kind") -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the data directory as a daemon does."""
    argv = [sys.executable, "-c", HOLD, str(paths.lock), manner]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout
            assert running.stdout.readline() == b"held\n"
            yield running
        finally:
            running.kill()


def test_the_lock_says_who_runs(tmp_path: Path) -> None:
    paths = Paths.of(tmp_path)
    assert process.holder(paths) is None
    with daemon(paths) as running:
        assert process.holder(paths) == running.pid
    assert process.holder(paths) is None, "a pid file left behind is nobody"


def test_stop_waits_for_the_end(tmp_path: Path) -> None:
    paths = Paths.of(tmp_path)
    assert process.stop(paths) is None
    with daemon(paths) as running:
        assert process.stop(paths) == running.pid
        assert running.wait(5) == -15


def test_a_deaf_daemon_is_a_deadline_that_says_what_is_safe(tmp_path: Path) -> None:
    paths = Paths.of(tmp_path)
    with daemon(paths, "deaf"), pytest.raises(Deadline) as caught:
        process.stop(paths, timeout=0.1)
    assert "kill -9" in caught.value.hint
