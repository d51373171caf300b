from __future__ import annotations

from zlayer.agent.perform import pulling
from zlayer.image.contract import Progress
from zlayer.model.units import Bytes

MIB = 2**20


def blob(phase: str, done: int, total: int) -> Progress:
    return Progress("sha256:0", phase, Bytes(done * MIB), Bytes(total * MIB))


def test_a_pull_is_told_by_what_has_come_of_its_blobs() -> None:
    assert pulling("app:1", []) == "pulling app:1"
    assert pulling("app:1", [blob("waiting", 0, 0)]) == "pulling app:1"
    going = [blob("downloading", 1, 4), blob("exists", 0, 2), blob("waiting", 0, 4)]
    assert pulling("app:1", going) == "pulling (3.0 of 10.0 MiB) app:1"
    assert pulling("app:1", [blob("extracting", 0, 4), blob("done", 2, 2)]) == "unpacking app:1"
