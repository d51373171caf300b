"""Answers are kept by content, within bounds, and only where the content is known."""

from __future__ import annotations

import itertools

import pytest

from zlayer.runtime.oci import known
from zlayer.runtime.oci.known import Known


def test_one_content_is_asked_once() -> None:
    answers, found = Known[int](), itertools.count()
    assert [answers.get("a", ("x",), lambda: next(found)) for _ in range(3)] == [0, 0, 0]
    assert answers.get("a", ("y",), lambda: next(found)) == 1
    assert answers.get("b", ("x",), lambda: next(found)) == 2
    assert [answers.get("", ("x",), lambda: next(found)) for _ in range(2)] == [3, 4]


def test_a_refusal_is_not_kept() -> None:
    answers = Known[float]()
    with pytest.raises(ZeroDivisionError):
        answers.get("a", (), lambda: 1 / 0)
    assert answers.get("a", (), lambda: 1.0) == 1.0


def test_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    answers, found = Known[int](), itertools.count()
    for name in ("a", "b", "c", "b", "c", "a"):
        answers.get(name, (), lambda: next(found))
    assert next(found) == 4
