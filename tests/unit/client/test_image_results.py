from __future__ import annotations

from zlayer.client.image_results import Verified


def test_faults_are_read_whole() -> None:
    raw = {"kind": "layer", "name": "sha256:1", "images": ["a:1"], "state": "stayed", "note": "in use", "bad": True}
    found = Verified.of({"images": 1, "size": 5, "faults": [raw]})
    assert (found.size, found.faults[0].state, tuple(found.faults[0].images)) == (5, "stayed", ("a:1",))
