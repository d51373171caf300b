"""`zlayer image verify` (zlayer.cli.image_verify)."""

from __future__ import annotations

import json

import pytest

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, ndjson

FAULT = {"kind": "layer", "name": "sha256:0123456789abcdef", "problem": "it is missing", "images": ["a:1", "b:1"],
         "state": "found", "note": "", "bad": True}  # fmt: skip
PACKED = FAULT | {"kind": "packed", "bad": False, "images": ["a:1"]}


def verified(*faults: dict[str, object]) -> Answer:
    progress = {"digest": "sha256:1", "phase": "checking", "done": 1, "total": 2}
    counts = {"images": 2, "blobs": 5, "layers": 3, "size": 2**20}
    return ndjson(progress, {"verified": {**counts, "faults": list(faults)}})


def test_what_is_bad_is_shown_with_a_hint(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/images/verify"] = verified(FAULT, PACKED)
    done = cli("image", "verify")
    assert done.code == 1
    assert done.out.splitlines()[1].split() == ["layer", "0123456789ab", "found", "it", "is", "missing", "a:1,", "b:1"]
    assert "given back" in done.out
    assert "2 images, 3 layers, 5 blobs of 1.0 MiB: 1 bad" in done.err
    assert "--repair" in done.err


@pytest.mark.parametrize(("state", "bad", "code"), [("repaired", False, 0), ("stayed", True, 1)])
def test_the_exit_code_says_whether_something_stayed_bad(
    daemon: ScriptedDaemon, cli: Cli, state: str, bad: bool, code: int
) -> None:
    daemon.routes["POST /api/v1/images/verify"] = verified(FAULT | {"state": state, "bad": bad, "note": "in use"})
    done = cli("image", "verify", "a:1", "--repair", "--format", "json")
    assert done.code == code
    assert json.loads(done.out)["faults"][0]["state"] == state
    assert daemon.requests[-1].body == {"references": ["a:1"], "repair": True}


def test_nothing_bad(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/images/verify"] = verified()
    done = cli("image", "verify")
    assert (done.code, done.out) == (0, "")
    assert "nothing is bad" in done.err
