from __future__ import annotations

from zlayer.spec.traffic import LimitsSpec, StepSpec
from zlayer.spec.written import Duration, Memory, Rate


def test_units_are_shown_as_people_write_them() -> None:
    limits = LimitsSpec.model_validate({"rate": 0.5, "max_body": 1 << 20})
    assert limits.model_dump(mode="json", exclude_none=True) == {"rate": "30/m", "max_body": "1Mi"}
    assert StepSpec.model_validate({"weight": 5, "pause": 90}).model_dump(mode="json")["pause"] == "1m 30s"
    assert {Duration, Memory, Rate}
