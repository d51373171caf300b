"""The S3 tier in words."""

from __future__ import annotations

from zlayer.cli.render.times import size
from zlayer.client.results import S3Standing


def tier(found: S3Standing) -> str:
    """On a line, and what is wrong with it on others."""
    words = {"ok": "answers", "failing": "does not answer", "untried": "not asked yet"}
    waits = f"; {found.waiting} blobs ({size(found.waiting_bytes)}) wait to go up" if found.waiting else ""
    line = f"{found.name} at {found.endpoint}: {words.get(found.state, found.state)}{waits}"
    troubles = dict.fromkeys(filter(None, (found.why if found.state == "failing" else "", found.held_up)))
    return "\n".join((line, *(f"  {trouble}" for trouble in troubles)))
