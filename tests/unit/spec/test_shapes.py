from __future__ import annotations

from typing import Any

import pytest

from zlayer.spec.nodes import Source
from zlayer.spec.report import At, Report
from zlayer.spec.shapes import Choice, Flag, Number, Quantity, Shape, Text
from zlayer.spec.units import parse_duration
from zlayer.spec.yamltree import parse


def read(shape: Shape[Any], text: str) -> tuple[Any, list[str]]:
    report = Report("f")
    node = Source("f", parse(f"key: {text}", "f")).at(("key",))
    assert node is not None
    value = shape.read(node, At(report) / "key")
    return value, [p.message + (f" => {p.suggestion}" if p.suggestion else "") for p in report.problems]


COLOUR = Choice("", ("red", "green"), ("blue",), {"crimson": "red"})


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Text(), "abc", "abc"),
        (Text(), "'5'", "5"),
        (Text(loose=True), "1.10", "1.10"),
        (Text(loose=True), "True", "True"),
        (Text(check=str.upper), "abc", "ABC"),
        (Number(low=-5), "-5", -5),
        (Number(), "0x10", 16),
        (Flag(), "false", False),
        (COLOUR, "red", "red"),
        (Quantity("", parse_duration), "1m", 60.0),
    ],
)
def test_what_reads(shape: Shape[Any], text: str, value: object) -> None:
    assert read(shape, text) == (value, [])


@pytest.mark.parametrize(
    ("shape", "text", "problem"),
    [
        (Text(), "5", 'expected text, not the number 5 => "5"'),
        (Text(), "[]", "expected text, not a list"),
        (Text(), "", "key has no value: expected text, or remove the key"),
        (Text(), "!x a", "expected text, not the tag !x"),
        (Text(empty=False), "' '", "key is empty"),
        (Number(high=3), "4", "key must be 0 to 3, not 4"),
        (Number(), "1.5", "expected a whole number, not the number 1.5"),
        (Number(), "'7'", "expected a whole number, not the text '7' => 7"),
        (Number(), "true", "expected a whole number, not true"),
        (Number(), "9" * 30, f"expected a whole number, not the number {'9' * 30}"),
        (Flag(), "off", "expected true or false, not the text 'off' => false"),
        (Flag(), "maybe", "expected true or false, not the text 'maybe'"),
        (COLOUR, "blue", "not supported yet: key: blue"),
        (COLOUR, "gren", "unknown key 'gren'; expected red, green, blue => green"),
        (COLOUR, "crimson", "unknown key 'crimson'; expected red, green, blue => red"),
        (Quantity("", parse_duration), "5", "the duration 5 has no unit => 5s"),
        (Quantity("", parse_duration), "true", "expected a number, not true"),
    ],
)
def test_what_is_refused(shape: Shape[Any], text: str, problem: str) -> None:
    assert read(shape, text) == (None, [problem])


def test_schemas() -> None:
    assert Text("A name.", pattern="^a").schema() == {"type": "string", "pattern": "^a", "description": "A name."}
    assert Text(loose=True, empty=False).schema() == {"type": ["string", "number", "boolean"], "minLength": 1}
    assert Number(low=1, high=2).schema() == {"type": "integer", "minimum": 1, "maximum": 2}
    assert COLOUR.schema() == {"type": "string", "enum": ["red", "green"]}
