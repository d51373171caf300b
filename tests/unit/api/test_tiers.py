from __future__ import annotations

from dataclasses import replace

from zlayer.api.tiers import standing
from zlayer.testing.fake_images import TIER


def test_a_tier_and_none() -> None:
    assert standing(None) == []
    [shown] = standing(TIER)
    assert (shown["name"], shown["since"], shown["waiting_bytes"]) == (TIER.name, "1970-01-01T00:00:01.000000Z", 5)
    [untried] = standing(replace(TIER, since=None))
    assert untried["since"] is None
