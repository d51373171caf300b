from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.traffic import StepSpec, UpdateSpec
from zlayer.spec.update import UPDATE

HEAD = """\
version: v1
deployment: shop
services:
  web:
    image: {name: a}
    endpoints: [{name: http, protocol: http, port: 80}]
    update: """


def update(text: str) -> UpdateSpec:
    return load(HEAD + text).services["web"].update


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("0", 0), ('"25%"', "25%"), ("025%", "25%"), ("100%", "100%")])
def test_shares(text: str, value: int | str) -> None:
    if text == "025%":
        with pytest.raises(Invalid):
            update(f"{{max_surge: {text}}}")
        return
    assert update(f"{{max_surge: {text}, max_unavailable: 1}}").max_surge == value


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("0.25", "25%"), ("25.5%", "25%"), ('"2"', "2"), ('"25 percent"', "25%"), ("-1", ""), ("101%", ""), ("x", "")],
)
def test_what_is_no_share(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        update(f"{{max_unavailable: {text}}}")
    [problem] = caught.value.problems
    assert problem.suggestion == suggestion


def test_a_canary_has_steps() -> None:
    assert [step.weight for step in update("{strategy: canary}").steps] == [10, 50]
    steps = "[{weight: 5, pause: 1m}, {weight: 20}]"
    expected = (StepSpec(weight=5, pause=60), StepSpec(weight=20, pause=None))
    assert update(f"{{strategy: canary, steps: {steps}}}").steps == expected
    assert update("{strategy: rolling}").steps == ()


@pytest.mark.parametrize(
    "keys",
    [
        {"max_surge": 0, "max_unavailable": 0},
        {"max_surge": "0%"},
        {"strategy": "canary", "max_surge": 0, "max_unavailable": 1},
        {"strategy": "blue_green", "order": "stop_first"},
        {"order": "stop_first", "max_surge": 1},
        {"steps": [{"weight": 5}]},
    ],
)
def test_what_cannot_be(keys: dict[str, Any]) -> None:
    import json

    with pytest.raises(Invalid) as caught:
        update(json.dumps(keys))
    assert [p.kind for p in caught.value.problems] == ["Conflict"]


def test_what_can() -> None:
    assert update("{max_surge: 0, max_unavailable: 1}").max_surge == 0
    assert update("{order: stop_first, max_surge: 0}").order == "stop_first"
    assert update("{strategy: blue_green, max_surge: 0}").strategy == "blue_green"


def test_the_page_has_every_key_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "updates.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert rows.keys() == UPDATE.fields.keys()
    for key, default in rows.items():
        if default.startswith("`"):
            assert getattr(update(f"{{{key}: {default.strip('`')}}}"), key) == getattr(update("{}"), key), key
