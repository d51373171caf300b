from __future__ import annotations

import json

import pytest

from zlayer.daemon import doctor
from zlayer.daemon.doctor_checks import Finding
from zlayer.testing.api_samples import Cli

FINDINGS = [
    Finding("kernel", "ok", "Linux 6.1"),
    Finding("clock", "warn", "nothing keeps it right", "apt install chrony"),
]


def test_findings_with_their_fixes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run", lambda paths: FINDINGS)
    done = cli("doctor")
    assert done.code == 0
    assert done.out.splitlines() == [
        "      CHECK   FOUND",
        "ok    kernel  Linux 6.1",
        "warn  clock   nothing keeps it right",
        "clock: apt install chrony",
    ]
    assert json.loads(cli("doctor", "--format", "json").out)[1] == {
        "name": "clock", "level": "warn", "message": "nothing keeps it right", "fix": "apt install chrony",
    }  # fmt: skip


def test_something_broken_is_exit_code_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run", lambda paths: [Finding("engine", "fail", "none", "apt install runc")])
    assert cli("doctor").code == 1
    assert cli("doctor", "--format", "json").code == 1
