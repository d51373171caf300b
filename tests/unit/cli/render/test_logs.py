from __future__ import annotations

from zlayer.cli.render.colour import stable
from zlayer.cli.render.logs import Prefixer
from zlayer.client.results import LogLine
from zlayer.testing.api_samples import line


def log(text: str, slot: int = 1, stream: str = "stdout", service: str = "web") -> LogLine:
    return LogLine.of(line(text, slot, stream, service))


def test_the_prefix_column_grows_and_never_shrinks() -> None:
    draw = Prefixer(colour=False).line
    assert draw(log("a")) == "web-1 | a"
    assert draw(log("b", 12)) == "web-12 | b"
    assert draw(log("c")) == "web-1  | c"


def test_names_known_before_are_allowed_for() -> None:
    assert Prefixer(colour=False, names=("worker-1",)).line(log("a")) == "web-1    | a"


def test_stderr_is_marked_with_and_without_colour() -> None:
    assert Prefixer(colour=False).line(log("a", stream="stderr")) == "web-1 ! a"
    assert "\x1b[31m|\x1b[0m a" in Prefixer(colour=True).line(log("a", stream="stderr"))


def test_replicas_of_a_service_share_its_colour() -> None:
    draw = Prefixer(colour=True).line
    assert draw(log("a")).startswith(f"\x1b[{stable('web')}mweb-1")
    assert draw(log("a", 2)).startswith(f"\x1b[{stable('web')}mweb-2")


def test_timestamps_and_no_prefix() -> None:
    draw = Prefixer(colour=False, prefix=False, timestamps=True).line
    assert draw(log("a")) == "2026-01-01T00:00:00.000000Z a"


def test_a_one_off_goes_by_its_id() -> None:
    assert Prefixer(colour=False).line(LogLine(data="a", instance="run-1")) == "run-1 | a"
