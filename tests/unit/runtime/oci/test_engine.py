"""What an engine says, as our errors."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.model.errors import Exhausted, Failed, Unavailable, ZlayerError
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.engine import Engine, to_cover
from zlayer.runtime.oci.mountspace import MountSpace

RUNC = Engine("runc", "/usr/sbin/runc", "1.1.5", Path("/run/x/runc"))
WARNED = (
    'time="2026-11-23T16:46:15Z" level=warning msg="cannot toggle freezer" '
    'time="2026-11-23T16:46:15Z" level=error msg="runc create failed: unable to start container process: '
    'exec: \\"/no\\": stat /no: no such file or directory"\n'
)


@pytest.mark.parametrize(
    ("words", "kind", "message", "hint"),
    [
        (WARNED, Failed, 'runc: exec: "/no": stat /no: no such file', "image"),
        ('exec: "x": executable file not found in $PATH', Failed, "executable file not found", "image"),
        ('exec: "/etc": permission denied', Failed, "permission denied", "executable"),
        ("write /sys/fs/cgroup/x: no space left on device", Exhausted, "no space left", "free"),
        ("", Failed, "without a word", "doctor"),
    ],
)
def test_refusals(words: str, kind: type[ZlayerError], message: str, hint: str) -> None:
    error = RUNC.refusal("create", words)
    assert type(error) is kind
    assert message in error.message
    assert "level=" not in error.message
    assert hint in error.hint


def test_commands_name_the_state_directory() -> None:
    assert RUNC.argv("start", "c") == ["/usr/sbin/runc", "--root", "/run/x/runc", "start", "c"]
    assert RUNC.fifo("c") == "/run/x/runc/c/exec.fifo"
    assert str(RUNC) == "runc 1.1.5"
    by = {name: Engine(name, "", "", Path()).start_by for name in ("runc", "crun", "youki")}
    assert by == {"runc": "read", "crun": "write", "youki": "command"}


def test_a_program_the_engine_did_not_name() -> None:
    error = Engine("crun", "", "1", Path()).refusal(
        "create", "open executable: Operation not permitted", program="/etc"
    )
    assert error.message == "crun: open executable: Operation not permitted (/etc)"


@pytest.mark.parametrize(
    ("name", "controllers", "v1", "covered"),
    [
        ("crun", "hugetlb\n", True, True),
        ("crun", "\n", True, False),
        ("crun", "memory\n", False, False),
        ("runc", "hugetlb\n", True, False),
    ],
)
def test_only_crun_on_hybrid_cgroups_must_not_see_v2(
    tmp_path: Path, name: str, controllers: str, *, v1: bool, covered: bool
) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers)
    hierarchies = Hierarchies((("memory", tmp_path / "memory"),) if v1 else (), tmp_path)
    assert to_cover(name, hierarchies) == (tmp_path if covered else None)


@pytest.mark.anyio
async def test_without_a_space_a_program_is_started_here() -> None:
    assert await RUNC.begin(lambda: "here") == "here"
    done = await Engine("sh", "echo", "1", Path("/state")).run("word", timeout=20)
    assert done.output == "--root /state word\n"


@pytest.mark.anyio
@pytest.mark.root
async def test_a_shield_that_fails_stops_only_who_needs_it(tmp_path: Path) -> None:
    with contextlib.closing(MountSpace(())) as space:
        missing = tmp_path / "missing"
        with pytest.raises(Unavailable, match="cannot be shielded"):
            await replace(RUNC, space=space, covered=missing).begin(lambda: "here")
        assert await replace(RUNC, space=space).begin(lambda: "here", [missing]) == "here"
