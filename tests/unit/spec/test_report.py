from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid, Problem
from zlayer.spec.nodes import Scalar, Source
from zlayer.spec.report import MAX_PROBLEMS, MAX_SUGGESTIONS, At, Found, Report, nearest, refused

NODE = Scalar(3, 7, "x", "x")


def test_nearest_ignores_case_and_dashes() -> None:
    assert nearest("Pull-Policy", ("pull_policy", "name")) == "pull_policy"
    assert nearest("zzz", ("pull_policy",)) == ""
    assert nearest("a" * 10_000, ("a" * 9_999,)) == ""


def test_problems_come_in_reading_order() -> None:
    report = Report("f")
    for line in (5, 2, 9):
        report.add(Problem(str(line), line=line, column=1))
    with pytest.raises(Invalid, match="f has 3 problems") as caught:
        report.raise_if_any()
    assert [p.line for p in caught.value.problems] == [2, 5, 9]


def test_one_problem_is_its_own_summary() -> None:
    report = Report("f")
    (At(report) / "a" / 0).refuse(NODE, "is wrong", suggestion="right")
    with pytest.raises(Invalid) as caught:
        report.raise_if_any()
    assert caught.value.message == "f:3:7: a.0: is wrong (did you mean 'right'?)"


def test_a_key_with_a_dot_has_an_exact_pointer() -> None:
    report = Report("f")
    (At(report) / "labels" / "a.b/c").refuse(NODE, "is wrong")
    Found(report, Source()).add(("env", "x.y"), "is wrong too", kind="K")
    assert [p.pointer for p in report.problems] == ["/labels/a.b~1c", "/env/x.y"]


def test_later_features_alone_have_a_hint_of_their_own() -> None:
    report = Report("f")
    (At(report) / "gpu").not_yet(NODE, "gpu")
    with pytest.raises(Invalid) as caught:
        report.raise_if_any()
    assert "remove these keys" in caught.value.hint
    assert caught.value.problems[0].kind == "Unsupported"


def test_an_empty_report_is_silent() -> None:
    report = Report("f")
    report.raise_if_any()
    assert report.problems == []


def test_a_report_is_bounded_and_stops_guessing() -> None:
    report = Report("f")
    at = At(report)
    for i in range(MAX_PROBLEMS + 10):
        at.refuse(Scalar(i + 1, 1, "", ""), "no", suggestion=at.nearest("nam", ("name",)))
    assert len(report.problems) == MAX_PROBLEMS
    assert report.dropped == 10
    assert sum(bool(p.suggestion) for p in report.problems) == MAX_SUGGESTIONS


def test_the_same_problem_twice_is_told_once() -> None:
    report = Report("f")
    for _ in range(2):
        At(report).refuse(NODE, "no")
    assert len(report.problems) == 1


def test_a_value_parsers_problem_gets_a_place() -> None:
    report = Report("f")
    (At(report) / "cpu").replay(NODE, refused("bad", suggestion="1", kind="InvalidCpu"))
    assert report.problems == [Problem("bad", "cpu", "f", 3, 7, "1", "InvalidCpu", "/cpu")]


def test_found_reports_by_path() -> None:
    report = Report("f")
    Found(report, Source("f", NODE)).add(("a", 1), "no", kind="Conflict")
    assert report.problems == [Problem("no", "a.1", "f", 3, 7, "", "Conflict", "/a/1")]
