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
    child = (tmp_path / "child").read_text().strip()
    with anyio.fail_after(30):
        while alive(Path(f"/proc/{child}/stat")):  # noqa: ASYNC110 - nothing tells of the end of another's child
            await anyio.sleep(0.01)  # it was told to end, which is not at once


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        await ProgramHook(tmp_path / "none").present("r", "v")
