from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zlayer.spec.nodes import Listing
from zlayer.spec.records import Field, ListOf, MapOf, Record
from zlayer.spec.report import At, Report
from zlayer.spec.shapes import Number, Shape, Text
from zlayer.spec.syntax import check_name
from zlayer.spec.yamltree import parse


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


POINT: Record[Point] = Record(
    Point,
    {"x": Field(Number(), required=True), "why": Field(Number(), to="y", instead=7)},
    later={"z": Number(high=9), "w": None},
    synonyms={"abscissa": "x"},
    short="x",
)


def read(shape: Shape[Any], text: str) -> tuple[Any, list[str]]:
    report = Report("f")
    value = shape.read(parse(text, "f"), At(report))
    found = sorted(report.problems, key=lambda p: (p.line, p.column))
    return value, [
        f"{p.column} [{p.path}] {p.message}" + (f" => {p.suggestion}" if p.suggestion else "") for p in found
    ]


def test_a_record_is_made() -> None:
    assert read(POINT, "{x: 1, why: 2}") == (Point(1, 2), [])
    assert read(POINT, "{x: 1}") == (Point(1), [])


def test_a_missing_or_bad_required_key_leaves_nothing() -> None:
    assert read(POINT, "{why: 2}") == (None, ["1 [] the key 'x' is missing"])
    assert read(POINT, "{x: a}") == (None, ["5 [x] expected a whole number, not the text 'a'"])


def test_a_stand_in_takes_the_place_of_a_bad_value() -> None:
    assert read(POINT, "{x: 1, why: a}") == (Point(1, 7), ["13 [why] expected a whole number, not the text 'a'"])


def test_strangers_and_later_keys_are_told_apart() -> None:
    _, problems = read(POINT, "{x: 1, wy: 2, z: 10, w: 1}")
    assert problems == [
        "8 [] unknown key 'wy' => why",
        "15 [z] not supported yet: z",
        "18 [z] z must be 0 to 9, not 10",
        "22 [w] not supported yet: w",
    ]


def test_a_key_meant_for_a_required_one_is_told_once() -> None:
    assert read(POINT, "{abscissa: 1}") == (None, ["2 [] unknown key 'abscissa' => x"])


def test_a_bare_text_is_offered_as_a_map() -> None:
    assert read(POINT, "five") == (None, ["1 [] expected a map, not the text 'five' => {x: five}"])


def test_a_list_keeps_the_good_and_shows_them_to_its_check() -> None:
    seen: list[tuple[int, int]] = []

    def check(items: tuple[tuple[int, int], ...], node: Listing, at: At) -> None:
        seen.extend(items)

    value, problems = read(ListOf(Number(), check=check), "[1, x, 3]")
    assert value == (1, 3)
    assert seen == [(0, 1), (2, 3)]
    assert problems == ["5 [1] expected a whole number, not the text 'x'"]


def test_names_of_a_map_have_one_form() -> None:
    value, problems = read(MapOf(Text(), str.lower), "{A: x, a: y, b: z}")
    assert value == {"a": "x", "b": "z"}
    assert problems == ["8 [a] 'a' is given twice"]
    value, problems = read(MapOf(Text(), check_name, limit=1), "{a: x, b: y}")
    assert (value, problems) == (None, ["1 [] more than 1 entries"])


def test_the_schema_of_a_record() -> None:
    schema = POINT.schema()
    assert schema["required"] == ["x"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["w"] == {"not": {}, "description": "not supported yet: w"}
