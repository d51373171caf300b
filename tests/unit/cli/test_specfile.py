from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from zlayer.cli import specfile
from zlayer.model.errors import Invalid, NotFound


def test_the_spec_named_or_found_with_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.zlayer.yml").write_text("\ufeffversion: v1\n")
    expected = ("version: v1\n", str(tmp_path / "a.zlayer.yml"))
    assert specfile.read("a.zlayer.yml") == expected
    assert specfile.read(None) == expected


def test_stdin_counts_as_standing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("x: 1\n"))
    assert specfile.read("-") == ("x: 1\n", str(tmp_path / "<stdin>"))


def test_what_is_no_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        specfile.read(str(tmp_path / "nowhere.yml"))
    with pytest.raises(Invalid):
        specfile.read(str(tmp_path))
    (tmp_path / "binary.yml").write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(Invalid, match=r"binary.yml:2:4: not UTF-8"):
        specfile.read(str(tmp_path / "binary.yml"))


def test_short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert specfile.short(str(tmp_path / "sub" / "a.yml")) == "sub/a.yml"
    assert specfile.short("/elsewhere/a.yml") == "/elsewhere/a.yml"
