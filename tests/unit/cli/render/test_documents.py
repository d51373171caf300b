from __future__ import annotations

import json

import yaml

from zlayer.cli.render.documents import as_line, as_text

DOC = {"b": [1, {"c": None}], "a": "ü"}


def test_json_and_yaml_say_the_same_in_the_same_order() -> None:
    assert json.loads(as_text(DOC, "json")) == yaml.safe_load(as_text(DOC, "yaml")) == DOC
    assert list(json.loads(as_text(DOC, "json"))) == ["b", "a"]
    assert as_text(DOC, "yaml").startswith("b:")
    assert "ü" in as_text(DOC, "json")


def test_a_line_is_one_line() -> None:
    assert as_line({"a": "x\ny"}) == '{"a": "x\\ny"}'
