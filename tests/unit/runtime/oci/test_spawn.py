"""Starting programs: output, codes, deadlines, and no descriptor too many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.model.errors import Deadline, Unavailable
from zlayer.runtime.oci import spawn

pytestmark = pytest.mark.anyio


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_output_and_code() -> None:
    before = descriptors()
    done = await spawn.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20)
    assert (done.code, done.output) == (3, "out\nerr\n")
    assert (await spawn.run(["sh", "-c", "kill -9 $$"], timeout=20)).code == -9
    big = await spawn.run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], timeout=20)
    assert len(big.output) == 300000
    assert descriptors() == before


async def test_a_slow_one_is_killed(tmp_path: Path) -> None:
    with pytest.raises(Deadline, match="sleep"):
        await spawn.run(["sleep", "100"], timeout=0.05)


async def test_a_grandchild_that_keeps_the_pipe_does_not_hold_us() -> None:
    done = await spawn.run(["sh", "-c", "sleep 3 & echo here"], timeout=2)
    assert done.output == "here\n"


async def test_what_is_not_there() -> None:
    with pytest.raises(Unavailable, match="no-such-program"):
        await spawn.run(["no-such-program"], timeout=5)


async def test_only_what_is_passed_is_inherited() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[3:])"
    done = await spawn.run([sys.executable, "-c", code], timeout=20)
    assert str(write) not in done.output.strip("[]\n").split(", ")
    os.close(read)
    os.close(write)


async def test_reap_takes_what_ended_and_what_will() -> None:
    null = (subprocess.DEVNULL,) * 3
    child = spawn.start(["sh", "-c", "exit 5"], stdio=null)
    assert (await spawn.reap(child), await spawn.reap(child)) == (5, 5)
    child = spawn.start(["sleep", "100"], stdio=null)
    await spawn.kill(child)
    assert child.returncode == -9


def test_engines_get_little_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    assert "TOKEN" not in spawn.environment()
    assert spawn.environment()["PATH"]
