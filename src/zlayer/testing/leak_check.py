"""A pytest plugin: a session that leaves mounts, cgroups, namespaces, links, tables or processes behind fails.

Counts once, in the process that started the session (not in xdist's workers), before the first and after the last
test. While another suite runs on the same machine nobody can tell whose a thing is: then the last one counts, and
the others say that they did not. Use it with `-p zlayer.testing.leak_check`.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import IO

import pytest

from zlayer.testing.leaks import Census, left_over, snapshot_machine

SETTLE_SECONDS = 10.0
PAUSE_SECONDS = 0.2
STATE = pytest.StashKey[tuple[Census, IO[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "seconds that the kernel and orphaned monitors get to finish before a leak counts"
    parser.addoption("--leak-settle", type=float, default=SETTLE_SECONDS, help=told)


def pytest_sessionstart(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    lock = Path(tempfile.gettempdir(), f"zlayer-tests-{os.getuid()}.lock").open("w")  # noqa: SIM115 (held all session)
    fcntl.flock(lock, fcntl.LOCK_SH)
    session.config.stash[STATE] = (snapshot_machine(), lock)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if STATE not in session.config.stash:
        return
    before, lock = session.config.stash[STATE]
    with lock:
        say = session.config.get_terminal_writer().line
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("\nleaks not counted: another suite is running on this machine; the last one counts")
            return
        if leaked := _settled(before, session.config.getoption("--leak-settle")):
            say("\nleft behind on this machine by the tests:\n" + leaked, red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _settled(before: Census, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while (leaked := left_over(before, snapshot_machine())) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    return leaked
