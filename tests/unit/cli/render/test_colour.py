from __future__ import annotations

import subprocess
import sys

from zlayer.cli.render import colour


def test_paint_only_where_colour_is_wanted() -> None:
    assert colour.paint("x", "red", colour=True) == "\x1b[31mx\x1b[0m"
    assert colour.paint("x", "red", colour=False) == "x"
    assert colour.paint("x", "", colour=True) == "x"


def test_a_state_goes_by_its_first_word() -> None:
    assert colour.state("failed: no such image", colour=True).startswith("\x1b[31m")
    assert colour.state("running 3 minutes (healthy)", colour=True).startswith("\x1b[32m")
    assert colour.state("", colour=True) == ""
    assert colour.state("unheard of", colour=True) == "unheard of"


def test_a_name_has_one_colour_in_every_process() -> None:
    code = "from zlayer.cli.render.colour import stable; print(stable('web'), stable('db'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [colour.stable("web"), colour.stable("db")]
    assert len({colour.stable(name) for name in ("web", "db", "cache", "worker", "api", "queue")}) > 3


def test_length_without_codes() -> None:
    assert colour.plain_length(colour.paint("four", "bold", colour=True)) == 4
    assert colour.plain_length("four") == 4


def test_clipping_counts_what_is_seen() -> None:
    assert colour.clipped(colour.paint("four", "red", colour=True), 4) == "\x1b[31mfour\x1b[0m"
    assert colour.clipped(f"a {colour.paint('four', 'red', colour=True)}", 4) == "a fo"
    assert colour.clipped("four", 0) == ""


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert colour.visible("ä 日本 \t\n") == "ä 日本 \t\n"
    assert (
        colour.visible("\x1b[31m\x9b2J\x07\u202e\x00\ud800\U000e0001")
        == r"\x1b[31m\x9b2J\x07\u202e\x00\ud800\U000e0001"
    )
