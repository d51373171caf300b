from __future__ import annotations

import json
from pathlib import Path

import pytest

from zlayer.testing.api_samples import Cli

GOOD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: nginx}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_spec(cli: Cli, here: Path) -> None:
    (here / "zlayer.yml").write_text(GOOD)
    assert cli("validate").out == "zlayer.yml: valid, 1 service\n"
    assert json.loads(cli("validate", "--format", "json").out) == {"valid": True, "errors": []}


def test_every_problem_with_its_place(cli: Cli, here: Path) -> None:
    (here / "bad.yml").write_text(GOOD.replace("image:", "imge:") + "colour: red\n")
    done = cli("validate", "bad.yml")
    assert (done.code, done.out) == (2, "")
    assert "bad.yml:5:5: services.web" in done.err
    assert "bad.yml:6:1:" in done.err
    asjson = cli("validate", "bad.yml", "--format", "json")
    assert asjson.code == 2
    errors = json.loads(asjson.out)["errors"]
    assert len(errors) >= 2
    assert {"file", "line", "column", "path", "message", "suggestion"} <= set(errors[0])


def test_it_needs_no_daemon(cli: Cli, here: Path) -> None:
    (here / "zlayer.yml").write_text(GOOD)
    assert cli("--data-dir", str(here / "none"), "validate").code == 0
    assert not (here / "none").exists()
