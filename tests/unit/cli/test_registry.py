"""`zlayer registry` without a server: users, an empty registry, and what cannot be asked for."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

import pytest

from zlayer.cli.main import main


def run(tmp_path: Path, *words: str) -> int:
    return main(["registry", *words, "--root", str(tmp_path / "r")])


def test_users(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("long enough\n"))
    assert run(tmp_path, "user", "add", "ann", "--right", "pull", "--right", "push", "--password-stdin") == 0
    assert "added ann: pull,push" in capsys.readouterr().err
    assert run(tmp_path, "user", "ls", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "ann", "rights": ["pull", "push"], "grants": {}}]
    assert run(tmp_path, "user", "ls") == 0
    assert "ann   pull,push" in capsys.readouterr().out
    assert run(tmp_path, "user", "rm", "bob") == 1
    monkeypatch.setattr(sys, "stdin", StringIO("short\n"))
    assert run(tmp_path, "user", "add", "eve", "--password-stdin") == 2
    monkeypatch.setattr(sys, "stdin", StringIO(""))
    assert run(tmp_path, "user", "add", "eve") == 2
    assert "--password-stdin" in capsys.readouterr().err


def test_a_user_of_some_repositories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*words: str) -> int:
        monkeypatch.setattr(sys, "stdin", StringIO("long enough\n"))
        return run(tmp_path, "user", "add", "web", *words, "--password-stdin")

    assert add("--allow", "team/*:pull,push", "--allow", "base/*:pull") == 0
    assert "added web: base/*:pull team/*:pull,push" in capsys.readouterr().err
    assert run(tmp_path, "user", "ls", "--format", "json") == 0
    granted = {"base/*": ["pull"], "team/*": ["pull", "push"]}
    assert json.loads(capsys.readouterr().out) == [{"name": "web", "rights": [], "grants": granted}]
    assert add("--allow", "team/*:delete", "--right", "pull") == 0
    assert "changed web: pull team/*:delete" in capsys.readouterr().err
    for wrong in ("team/*", "../*:pull", "Team:pull", "team:write"):
        assert add("--allow", wrong) == 2
        assert "hint" in capsys.readouterr().err
    assert run(tmp_path, "user", "ls") == 0
    assert "web   pull team/*:delete" in capsys.readouterr().out, "what was refused changed nothing"


def test_an_empty_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "gc") == 2
    assert "no registry" in capsys.readouterr().err
    (tmp_path / "r").mkdir()
    assert run(tmp_path, "gc", "--dry-run") == 0
    assert "would delete 0 blobs" in capsys.readouterr().err
    assert run(tmp_path, "ls") == 0
    assert capsys.readouterr().out.split() == ["REPOSITORY", "TAG", "DIGEST", "SIZE"]
