"""Processes by pid and start time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from zlayer.runtime.oci.processes import (
    Process,
    children_of,
    command_line,
    executable,
    identify,
    readable,
)

pytestmark = pytest.mark.anyio
NOBODY = 2**22 + 1


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_identity_of_the_living(child: subprocess.Popen[bytes]) -> None:
    found = identify(child.pid)
    assert found is not None
    assert found.alive()
    assert command_line(child.pid) == [b"sleep", b"100"]
    assert executable(child.pid)
    assert found in children_of(os.getpid())


def test_a_pid_used_again_is_another_process(child: subprocess.Popen[bytes]) -> None:
    found = identify(child.pid)
    assert found is not None
    other = Process(found.pid, found.start + 1)
    assert not other.alive()
    assert other.signal(signal.SIGKILL) is False
    assert found.alive()


async def test_a_zombie_is_dead(child: subprocess.Popen[bytes]) -> None:
    found = identify(child.pid)
    assert found is not None
    assert found.signal(signal.SIGKILL)
    with anyio.fail_after(20):
        await found.ended()
    assert not found.alive()
    assert identify(child.pid) is None
    assert found.signal(signal.SIGKILL) is False
    await found.ended()


async def test_nobody() -> None:
    ghost = Process(NOBODY, 1)
    assert not ghost.alive()
    assert not ghost.signal(signal.SIGTERM)
    await ghost.ended()
    assert (identify(NOBODY), command_line(NOBODY), executable(NOBODY), children_of(NOBODY)) == (None, [], "", [])


async def test_readiness_of_descriptors() -> None:
    read, write = os.pipe()
    try:
        with anyio.move_on_after(0) as scope:
            await readable(read)
        assert scope.cancelled_caught
        os.write(write, b"x")
        await readable(read)
    finally:
        os.close(read)
        os.close(write)


STARVED = """
import os, resource
from zlayer.runtime.oci.processes import identify
me = identify(os.getpid())
assert me is not None and me.alive()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for ask in (me.alive, lambda: me.opened().__enter__(), lambda: me.signal(0)):
    try:
        print("answered", ask())
    except OSError:
        print("cannot say")
"""


def test_without_a_descriptor_left_nobody_is_declared_dead() -> None:
    """Or a daemon at its limit would take running containers apart."""
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["cannot say"] * 3, done.stderr


def test_no_pid_is_no_process() -> None:
    assert not Process(0, 0).alive()
    assert not Process(0, 0).signal(signal.SIGKILL)
