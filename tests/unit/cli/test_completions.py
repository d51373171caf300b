from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from zlayer.cli.completions import SCRIPTS
from zlayer.testing.api_samples import Cli


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_asks_zlayer_and_parses(cli: Cli, shell: str, tmp_path: Path) -> None:
    done = cli("completions", shell)
    assert done.code == 0
    assert "zlayer __complete" in done.out
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(done.out)
        subprocess.run([program, "-n", tmp_path / "script"], check=True, timeout=20)


def test_an_unknown_shell(cli: Cli) -> None:
    assert cli("completions", "tcsh").code == 2


def test_bash_completes(tmp_path: Path) -> None:
    """The real shell, with a `zlayer` on its path that says what it was asked."""
    (tmp_path / "zlayer").write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
    (tmp_path / "zlayer").chmod(0o755)
    script = SCRIPTS["bash"] + (
        'COMP_WORDS=(zlayer logs --deployment "my sho"); COMP_CWORD=3; compopt() { :; }; _zlayer;'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[__complete]", "[logs]", "[--deployment]", "[my sho]"]
