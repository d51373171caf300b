"""`zlayer system` and `zlayer image history` (zlayer.cli.system)."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from zlayer.cli.units import duration
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

USAGE = {
    "images": [{"reference": "a:1", "size": 3 << 20, "alone": 1 << 20, "shared": 2 << 20, "in_use": True}],
    "layers": 5 << 20, "blobs": 1 << 20, "reclaimable": 1 << 20, "free": 1 << 30, "disk": 4 << 30,
}  # fmt: skip
PRUNE = "POST /api/v1/system/prune"


def test_df(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/system/df"] = Answer(USAGE)
    done = cli("system", "df")
    assert "a:1" in done.out
    assert "1.0 MiB can be given back" in done.out
    assert '"alone": 1048576' in cli("system", "df", "--format", "json").out


def test_df_tells_how_s3_stands(daemon: ScriptedDaemon, cli: Cli) -> None:
    tier = {"name": "s3://b/p/", "endpoint": "https://s3.lan", "state": "ok", "why": "", "since": None}
    daemon.routes["GET /api/v1/system/df"] = Answer({**USAGE, "s3": [tier]})
    assert cli("system", "df").out.splitlines()[-1] == "s3://b/p/ at https://s3.lan: answers"
    failing = {**tier, "state": "failing", "why": "it stalled", "waiting": 2, "waiting_bytes": 2048, "held_up": "403"}
    daemon.routes["GET /api/v1/system/df"] = Answer({**USAGE, "s3": [failing]})
    assert cli("system", "df").out.splitlines()[-3:] == [
        "s3://b/p/ at https://s3.lan: does not answer; 2 blobs (2.0 KiB) wait to go up", "  it stalled", "  403",
    ]  # fmt: skip


def test_prune(daemon: ScriptedDaemon, cli: Cli) -> None:
    piece = {"kind": "image", "name": "a:1", "size": 2048, "why": "not used for 9.0 days"}
    daemon.routes[PRUNE] = Answer({"pieces": [piece], "bytes": 2048, "dry_run": True})
    done = cli("system", "prune", "-a", "--older-than", "7d", "-n")
    assert "a:1  (not used for 9.0 days)" in done.out
    assert done.err == "2.0 KiB would be given back\n"
    assert daemon.seen(PRUNE)[0].body == {"unused": True, "older_than": 604_800.0, "dry_run": True}


def test_history(daemon: ScriptedDaemon, cli: Cli) -> None:
    steps = [{"by": "ADD x", "size": 5}, {"by": f"RUN {'y' * 100}", "comment": "c"}]
    daemon.routes["GET /api/v1/images/history"] = Answer(steps)
    lines = cli("image", "history", "a:1").out.splitlines()
    assert "RUN yyy" in lines[1]
    assert "…" in lines[1]
    assert "ADD x" in lines[2]
    assert "y" * 100 in cli("image", "history", "--no-trunc", "a:1").out


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604_800)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1s", "7w", "nan"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        duration(text)
