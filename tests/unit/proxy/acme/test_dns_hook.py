from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Deadline, Failed, Unsupported
from zlayer.proxy.acme.dns_hook import ProgramHook

pytestmark = pytest.mark.anyio


def program(path: Path, body: str) -> Path:
    file = path / "hook"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def alive(status: Path) -> bool:
    try:
        return status.read_text().split()[2] != "Z"
    except OSError:
        return False


async def gone(tmp_path: Path) -> None:
    """Told to end, which is not at once."""
    child = (tmp_path / "child").read_text().strip()
    with anyio.fail_after(30):
        while alive(Path(f"/proc/{child}/stat")):  # noqa: ASYNC110 - nothing tells of the end of another's child
            await anyio.sleep(0.01)


async def test_it_is_called_with_three_words_and_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZLAYER_TOKEN", "secret")
    hook = ProgramHook(
        program(tmp_path, f'echo "$@" >> {tmp_path}/said; env >> {tmp_path}/said; cat >> {tmp_path}/said')
    )
    await hook.present("_acme-challenge.a.test", "value; rm -rf /")
    await hook.cleanup("_acme-challenge.a.test", "value")
    said = (tmp_path / "said").read_text()
    assert "present _acme-challenge.a.test value; rm -rf /\n" in said
    assert "cleanup _acme-challenge.a.test value\n" in said
    assert "secret" not in said


async def test_its_failure_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such zone"):
        await ProgramHook(program(tmp_path, "echo no such zone >&2; exit 3")).present("r", "v")


async def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    hook = ProgramHook(program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait"), deadline=3)
    with pytest.raises(Deadline):
        await hook.present("r", "v")
    await gone(tmp_path)


async def test_one_that_leaves_something_running_has_ended_all_the_same(tmp_path: Path) -> None:
    """What it left holds its output open, and is ended with it."""
    hook = ProgramHook(program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child"), deadline=600)
    with anyio.fail_after(60):
        await hook.present("r", "v")
        await gone(tmp_path)


async def test_a_caller_that_goes_away_ends_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    hook = ProgramHook(program(tmp_path, f"echo $$ > {child}.new; mv {child}.new {child}; sleep 600"))
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hook.present, "r", "v")
            while not child.exists():  # noqa: ASYNC110 - another process acts
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        await gone(tmp_path)


async def test_endless_talk_is_cut(tmp_path: Path) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the last word; exit 1"
    with pytest.raises(Failed, match=r"^.{0,500}the last word$"):
        await ProgramHook(program(tmp_path, script)).present("r", "v")


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        await ProgramHook(tmp_path / "none").present("r", "v")
