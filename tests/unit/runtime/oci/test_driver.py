"""The parts of the driver that need no engine."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.model.errors import Corrupt, Invalid, NotFound
from zlayer.model.units import Seconds
from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.runtime.oci.driver import OciRuntime, signal_number
from zlayer.runtime.oci.layout import Layout, Record, boot_id, write_record
from zlayer.runtime.oci.maker import DRIVER, handle_of
from zlayer.runtime.oci.processes import Process

pytestmark = pytest.mark.anyio


@pytest.fixture
def runtime(tmp_path: Path) -> OciRuntime:
    return OciRuntime(tmp_path / "c", tmp_path / "r", "zltest-none")


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("SIGHUP", 1)],
)
def test_signals(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "SIGNOPE", "0", "999", "RTMIN+x", "-9"])
def test_no_signals(name: str) -> None:
    with pytest.raises(Invalid):
        signal_number(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-a", "a" * 201, "a b", "ä", "a\n"])
async def test_ids_that_would_be_paths_are_refused(runtime: OciRuntime, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        await runtime.create(CreateRequest(id=name, directory=tmp_path, rootfs=tmp_path, argv=("true",)))


def record(directory: Path) -> Record:
    request = CreateRequest(id="x", directory=directory, rootfs=directory, argv=("true",))
    handle = handle_of(request, Process(2**22 + 1, 5), Process(2**22 + 2, 6))
    return Record(handle, boot_id(), "", "/zltest-none/x", "runc", 1, tty=False, stdin=False)


async def test_what_died_without_a_witness(runtime: OciRuntime, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "c/x")
    layout.prepare()
    made = record(layout.directory)
    write_record(layout, made)
    assert await runtime.list() == [made.handle]
    assert made.handle.driver == DRIVER
    observed = await runtime.recover(made.handle)
    assert observed.phase == "exited"
    assert observed.exit == await runtime.stop(made.handle, "SIGTERM", Seconds(5))
    other = replace(made.handle, pid_start=99)
    assert (await runtime.state(other)).phase == "absent"
    await runtime.remove(made.handle)
    assert await runtime.list() == []
    await runtime.close()


async def test_an_unreadable_record_hides_no_other(runtime: OciRuntime, tmp_path: Path) -> None:
    for name in ("x", "y"):
        layout = Layout(tmp_path / "c" / name)
        layout.prepare()
        write_record(layout, record(layout.directory))
    (tmp_path / "c/y/bundle/record.json").write_text("{")
    assert [handle.id for handle in await runtime.list()] == ["x"]
    with pytest.raises(Corrupt):
        await runtime.state(Handle("oci", "y", str(tmp_path / "c/y"), 1))


async def test_nothing_there(runtime: OciRuntime) -> None:
    assert await runtime.list() == []
    ghost = Handle("oci", "g", "/no/such", 1, 1)
    with pytest.raises(NotFound):
        await runtime.wait(ghost)
    assert (await runtime.stop(ghost, "SIGTERM", Seconds(1))).code is None
    await runtime.close()
