from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zlayer.spec.dump import dump
from zlayer.spec.load import load

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.zlayer.yml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_an_example_comes_back_equal(path: Path, form: Any) -> None:
    spec = load(path.read_text())
    assert load(dump(spec, form)) == spec


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_dump_and_load_are_inverse(documents: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    spec = load(json.dumps(data.draw(documents)))
    text = dump(spec)
    again = load(text)
    assert again == spec
    assert dump(again) == text
    assert load(dump(spec, "json")) == spec


def test_the_normal_form_shows_defaults_and_normal_units() -> None:
    text = """
version: v1
deployment: shop
services:
  web:
    image: {name: nginx}
    env: {SWITCH: on, COUNT: 010, NOTE: "null"}
    resources: {cpu: "1", memory: 0.5Gi}
    health: {check: {type: http, path: /ok, port: 80, interval: 90s}}
"""
    web = yaml.safe_load(dump(load(text)))["services"]["web"]
    assert web["env"] == {"SWITCH": "on", "COUNT": "010", "NOTE": "null"}
    assert web["resources"] == {"cpu": 1.0, "memory": "512Mi"}
    assert web["scale"] == {"mode": "adaptive", "min": 1, "max": 10, "cooldown": "30s"}
    assert web["health"]["interval"] == "1m 30s"
    assert web["health"]["check"] == {"type": "http", "url": "http://localhost:80/ok", "expect_status": 200}
    assert "privileged" not in web


def test_false_that_is_no_default_is_kept() -> None:
    text = "version: v1\ndeployment: shop\nservices: {a: {image: {name: a}, devices: [{path: /dev/a, write: false}]}}"
    assert json.loads(dump(load(text), "json"))["services"]["a"]["devices"] == [
        {"path": "/dev/a", "read": True, "write": False}
    ]
