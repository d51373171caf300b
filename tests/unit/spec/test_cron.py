from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.cron import FORMS, check_cron


@pytest.mark.parametrize(
    ("text", "normal"),
    [("0 0 3 * * * *", "0 0 3 * * * *"), ("*/5  * * * *", "*/5 * * * *"), ("0 9-17/2 1,15 jan-mar mon-fri",) * 2,
     ("30 0 12 ? * SUN",) * 2, ("0 0 0 1 1 ? 2030-2035",) * 2],
)  # fmt: skip
def test_schedules(text: str, normal: str) -> None:
    assert check_cron(text) == normal


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    assert check_cron(form) == form


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "5, 6 or 7 fields"), ("* * * *", "this has 4"), ("@never", "unknown schedule"), ("60 * * * *", "0-59"),
     ("* 24 * * *", "hour"), ("* * 0 * *", "day of month"), ("* * * 13 *", "month"), ("* * * foo *", "not a number"),
     ("5-1 * * * *", "backwards"), ("*/0 * * * *", "step"), ("a! * * * *", "cannot stand"), (", * * * *", "cannot"),
     ("* * * * * * 1900", "year")],
)  # fmt: skip
def test_what_is_no_schedule(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        check_cron(text)
    assert caught.value.problems[0].kind == "InvalidCronSchedule"
