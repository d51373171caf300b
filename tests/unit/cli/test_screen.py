from __future__ import annotations

import io

import pytest

from zlayer.cli.screen import Screen, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "tty", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"CLICOLOR_FORCE": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
        ({"CI": "true"}, True, True),
    ],
)
def test_when_colour_is_wanted(environ: dict[str, str], tty: bool, wanted: bool) -> None:
    stream = Terminal() if tty else io.StringIO()
    assert wants_colour(stream, no_color=False, environ=environ) is wanted
    assert wants_colour(stream, no_color=True, environ=environ) is False


def test_progress_is_replaced_in_place_and_gives_way_to_notes() -> None:
    err = Terminal()
    screen = Screen(io.StringIO(), err, environ={})
    screen.draw(["one", "two"])
    screen.draw(["three"])
    screen.note("said")
    assert err.getvalue() == "one\ntwo\n\x1b[2F\x1b[Jthree\n\x1b[1F\x1b[Jsaid\n"


def test_output_between_two_drawings_stays() -> None:
    terminal = Terminal()
    screen = Screen(terminal, terminal, environ={})
    screen.draw(["one", "two"])
    screen.data("a line of log")
    screen.draw(["three"])
    assert terminal.getvalue() == "one\ntwo\n\x1b[2F\x1b[Ja line of log\none\ntwo\n\x1b[2F\x1b[Jthree\n"


def test_kept_progress_is_not_taken_away() -> None:
    err = Terminal()
    screen = Screen(io.StringIO(), err, environ={})
    screen.draw(["one"])
    screen.keep()
    screen.note("said")
    assert err.getvalue() == "one\nsaid\n"


@pytest.mark.parametrize("environ", [{"CI": "1"}, {"TERM": "dumb"}])
def test_nothing_is_drawn_where_it_cannot_be_redrawn(environ: dict[str, str]) -> None:
    err = Terminal()
    Screen(io.StringIO(), err, environ=environ).draw(["one"])
    plain = io.StringIO()
    Screen(io.StringIO(), plain, environ={}).draw(["one"])
    assert err.getvalue() + plain.getvalue() == ""


def test_data_and_notes_go_to_their_streams() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, environ={})
    screen.data("d")
    screen.note("n")
    assert (out.getvalue(), err.getvalue()) == ("d\n", "n\n")
    assert screen.width == 80


def test_what_cannot_be_replaced_is_not_drawn() -> None:
    err = Terminal()
    Screen(io.StringIO(), err, environ={}).draw(["x" * 200] * 100)
    assert err.getvalue().splitlines() == ["x" * 79] * 23
