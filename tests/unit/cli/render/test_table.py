from __future__ import annotations

from zlayer.cli.render.colour import paint
from zlayer.cli.render.table import table


def test_columns_are_aligned_without_trailing_blanks_and_stay_countable() -> None:
    assert table(("A", "LONGER"), [["value", ""], ["x", "y"]]).splitlines() == ["A      LONGER", "value  -", "x      y"]


def test_colour_codes_take_no_room() -> None:
    lines = table(("A", "B"), [[paint("up", "green", colour=True), "1"], ["down", "2"]]).splitlines()
    assert lines[1] == "\x1b[32mup\x1b[0m    1"
    assert lines[2] == "down  2"


def test_no_rows_are_a_header() -> None:
    assert table(("A", "B"), []) == "A  B"
    assert table(("A",), [], colour=True) == "\x1b[1mA\x1b[0m"
