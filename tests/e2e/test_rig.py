"""The zero-loss rig itself: a short run of it loses nothing, and interrupted it takes away what it made."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zlayer.testing.leaks import Census, snapshot_machine

from .conftest import missing

RIG = Path(__file__).parents[2] / "rig"
FIGURES = re.compile(r"    [a-z ]{20}( +\d+){3}$")
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@contextmanager
def rig(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """In a process group of its own, as a terminal has it."""
    argv = [sys.executable, str(RIG), *arguments]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0, bufsize=1
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def test_a_short_run_loses_nothing_and_says_so(tmp_path: Path) -> None:
    report = tmp_path / "rig.json"
    told = ("--quick", "--updates=2", "--swaps=40", "--only=swaps,updates-1,certificates")
    with rig(*told, f"--json={report}") as process:
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    document = json.loads(report.read_text())
    assert (document["lost"], document["trouble"]) == (0, "")
    phases = {row["phase"]: row for row in document["phases"]}
    assert phases["swaps"]["did"].startswith("40 replica swaps")
    assert phases["certificates"]["certificates"] > 1
    for name in ("swaps", "updates-1"):
        assert all(
            phases[name]["kinds"][kind]["answered"] for kind in ("new", "keepalive", "tls", "http2", "websocket")
        )


def test_cycles_see_what_comes_and_find_nothing_left() -> None:
    with rig("--only=cycles", "--cycles=2") as process:
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    counted = {
        line[:24].strip(): [int(word) for word in line[24:].split()]
        for line in said.splitlines()
        if FIGURES.match(line)
    }
    for kind, (before, up, after) in counted.items():
        assert after == before, kind
        assert up >= before, kind
    seen = {kind for kind, (before, up, _) in counted.items() if up > before}
    assert seen >= {"cgroups", "kernel routes", "links", "mounts", "netns", "nft entries", "nft rules", "processes"}
    assert seen >= {"proxy certificates", "proxy map entries", "proxy servers", "store keys", "directories"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_away_what_it_made(how: signal.Signals) -> None:
    with rig("--only=updates-1") as process:
        assert process.stdout is not None
        line = next(line for line in iter(process.stdout.readline, "") if line.startswith("rig: a daemon"))
        data = Path(line.split()[-1])
        deadline = time.monotonic() + 60
        while not snapshot_machine(data).netns:  # the first container
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal sends it: to everybody
        else:
            process.send_signal(how)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 2, said
    assert f"interrupted by {how.name}" in said
    assert not data.parent.exists()
    assert snapshot_machine(data) == Census()
