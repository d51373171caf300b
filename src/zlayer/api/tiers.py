"""How the S3 tier stands, as clients get it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from zlayer.api.times import rfc3339
from zlayer.image.s3.standing import Standing


def standing(tier: Standing | None) -> list[dict[str, Any]]:  # Any: JSON values
    """`S3Standing` of the one there is, or none."""
    tiers = [tier] if tier is not None else []
    return [{**asdict(one), "since": rfc3339(one.since) if one.since is not None else None} for one in tiers]
