from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.model.errors import Exhausted, Failed
from zlayer.runtime.oci.engine import Engine

RUNC = Engine("runc", "/usr/bin/runc", "1.1.5", Path("/run/none"))
WARNING = 'time="2026-11-23T17:00:35Z" level=warning msg="signal: killed"\n'


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            (
                r'time="2026-11-23T17:00:35Z" level=error msg="runc create failed: unable to start container process: '
                r'exec: \"nosuch\": executable file not found in $PATH"'
            ),
            'runc: exec: "nosuch": executable file not found in $PATH',
            "no such program",
        ),
        (
            (
                r'time="2026-11-23T17:00:35Z" level=error msg="runc create failed: unable to start container process: '
                r'exec: \"/etc\": permission denied"'
            ),
            'runc: exec: "/etc": permission denied',
            "not executable",
        ),
        ("container \\n with id exists", "runc: container with id exists", "zlayer doctor"),
        ("", "runc: failed without a word", "zlayer doctor"),
    ],
)
def test_its_words_without_its_log_format(said: str, message: str, hint: str) -> None:
    error = RUNC.refusal("create", WARNING + said if "level" in said else said)
    assert isinstance(error, Failed)
    assert error.message == message
    assert hint in error.hint


def test_a_full_machine_is_another_error() -> None:
    assert isinstance(RUNC.refusal("create", "mkdir /x: no space left on device"), Exhausted)
