from __future__ import annotations

import pytest

from zlayer.cli.render.tiers import tier
from zlayer.client.results import S3Standing

WELL = {"name": "s3://images/", "endpoint": "https://s3.lan", "state": "ok", "why": "of before"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "s3://images/ at https://s3.lan: answers"),
        ({"state": "untried"}, "s3://images/ at https://s3.lan: not asked yet"),
        ({"state": "failing", "why": "503"}, "s3://images/ at https://s3.lan: does not answer\n  503"),
        (
            {"state": "failing", "why": "503", "waiting": 1, "waiting_bytes": 1024, "held_up": "503"},
            "s3://images/ at https://s3.lan: does not answer; 1 blobs (1.0 KiB) wait to go up\n  503",
        ),
    ],
)
def test_how_it_stands(change: dict[str, str], words: str) -> None:
    assert tier(S3Standing.of({**WELL, **change})) == words
