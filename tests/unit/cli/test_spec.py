from __future__ import annotations

import json
from pathlib import Path

import yaml

from zlayer.testing.api_samples import Cli

GOOD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: nginx}\n"


def test_dump_is_a_spec_again(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text(GOOD)
    dumped = cli("spec", "dump", str(path)).out
    path.write_text(dumped)
    assert cli("spec", "dump", str(path)).out == dumped
    assert json.loads(cli("spec", "dump", str(path), "-f", "json").out) == yaml.safe_load(dumped)


def test_schema(cli: Cli) -> None:
    assert "$schema" in json.loads(cli("spec", "schema").out)


def test_a_bad_spec(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("version: v2\n")
    assert cli("spec", "dump", str(tmp_path / "a.yml")).code == 2
