from __future__ import annotations

from zlayer.cli.render.errors import lines, shortened
from zlayer.model.errors import Invalid, Problem, Unavailable


def test_every_problem_stands_with_its_place_as_seen_from_here() -> None:
    problems = (
        Problem("unknown key 'prots'", "services.web", "/home/u/a.yml", 3, 5, "ports"),
        Problem("is missing", "version"),
    )
    error = Invalid("/home/u/a.yml has 2 faults", hint="mend them", problems=problems)
    assert lines(error, colour=False, directory="/home/u") == [
        "error: a.yml has 2 faults",
        "  a.yml:3:5: services.web: unknown key 'prots' (did you mean 'ports'?)",
        "  version: is missing",
        "hint: mend them",
    ]


def test_when_to_try_again() -> None:
    assert lines(Unavailable("busy", retry_after=3), colour=False) == ["error: busy", "  try again in 3 seconds"]
    assert lines(Unavailable("busy"), colour=True) == ["\x1b[31merror:\x1b[0m busy"]


def test_at_the_root_nothing_is_shortened() -> None:
    assert shortened("https://a/b", "/") == shortened("https://a/b", "") == "https://a/b"


def test_one_problem_is_said_once_and_nothing_in_it_is_obeyed() -> None:
    problem = Problem("bad \x1b[2J", path="env.A\x1b]0;title\x07", file="a.yml", line=1, column=2)
    said = lines(Invalid(str(problem), hint="mend \x9bit", problems=(problem,)), colour=False)
    assert said == [r"error: a.yml:1:2: env.A\x1b]0;title\x07: bad \x1b[2J", r"hint: mend \x9bit"]
