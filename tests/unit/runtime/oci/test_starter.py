"""Starting by the fifo, as runc's init waits for it; and by the engine's command where that is not possible."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Failed
from zlayer.runtime.contract import Handle
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import Record, boot_id
from zlayer.runtime.oci.processes import executable, identify
from zlayer.runtime.oci.starter import start, waits_for_start

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "state/c").mkdir(parents=True)
    os.mkfifo(tmp_path / "state/c/exec.fifo")
    script = tmp_path / "runc"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\necho it is broken\nexit 1\n')
    script.chmod(0o755)
    return Engine("runc", str(script), "1", tmp_path / "state")


@pytest.fixture
def init(engine: Engine) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits at the fifo as runc's init does, then runs something else."""
    command = f"echo -n 0 > {engine.fifo('c')}; exec sleep 100"
    with subprocess.Popen(["sh", "-c", command]) as process:
        yield process
        process.kill()


def record_of(init: subprocess.Popen[bytes]) -> Record:
    process = identify(init.pid)
    assert process is not None
    handle = Handle("oci", "c", "/d", process.pid, process.start)
    return Record(handle, boot_id(), executable(init.pid), "/p/c", "runc", 1, tty=False, stdin=False)


async def test_by_fifo_without_a_command(engine: Engine, init: subprocess.Popen[bytes], tmp_path: Path) -> None:
    record = record_of(init)
    assert waits_for_start(engine, record)
    with anyio.fail_after(20):
        await start(engine, record)
        await start(engine, record)
    assert not Path(engine.fifo("c")).exists()
    assert not waits_for_start(engine, record)
    assert not (tmp_path / "called").exists()


async def test_one_that_was_started_but_kept_its_fifo_is_not_waiting(
    engine: Engine, init: subprocess.Popen[bytes]
) -> None:
    record = record_of(init)
    with anyio.fail_after(20):
        await start(engine, record)
        while executable(init.pid) == record.init:
            await anyio.lowlevel.checkpoint()
    os.mkfifo(engine.fifo("c"))
    assert not waits_for_start(engine, record)


async def test_an_init_that_died_is_no_error(engine: Engine, init: subprocess.Popen[bytes]) -> None:
    record = record_of(init)
    init.kill()
    init.wait()
    with anyio.fail_after(20):
        await start(engine, record)


async def test_others_are_started_by_command(engine: Engine, init: subprocess.Popen[bytes], tmp_path: Path) -> None:
    youki = Engine("youki", engine.path, "1", engine.state)
    with pytest.raises(Failed, match="it is broken"):
        await start(youki, record_of(init))
    assert (tmp_path / "called").read_text().split()[2:] == ["start", "c"]


async def test_crun_is_given_its_byte(engine: Engine, tmp_path: Path) -> None:
    crun = Engine("crun", engine.path, "1", engine.state)
    command = f"exec 3<>{crun.fifo('c')}; echo up; head -c1 <&3 >/dev/null; exec sleep 100"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE) as child:  # noqa: ASYNC220  # it stands for init
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        record = record_of(child)
        await start(crun, record)
        with anyio.fail_after(20):
            while executable(child.pid) == record.init:
                await anyio.lowlevel.checkpoint()
        child.kill()
    assert not Path(crun.fifo("c")).exists()
    assert not (tmp_path / "called").exists()
