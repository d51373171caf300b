"""What an engine says, as our errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.model.errors import Exhausted, Failed, ZlayerError
from zlayer.runtime.oci.engine import Engine

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
    assert RUNC.fifo("c") == Path("/run/x/runc/c/exec.fifo")
    assert str(RUNC) == "runc 1.1.5"
    by = {name: Engine(name, "", "", Path()).start_by for name in ("runc", "crun", "youki")}
    assert by == {"runc": "read", "crun": "write", "youki": "command"}


def test_a_program_the_engine_did_not_name() -> None:
    error = Engine("crun", "", "1", Path()).refusal(
        "create", "open executable: Operation not permitted", program="/etc"
    )
    assert error.message == "crun: open executable: Operation not permitted (/etc)"
