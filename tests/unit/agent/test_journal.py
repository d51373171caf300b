"""The journal survives what a crash and a full disk do to a file."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.agent import journal
from zlayer.agent.journal import Record
from zlayer.model.units import Timestamp
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import Exit, Handle

RECORDS = [
    Record(),
    Record(Stage.PULLED, image_digest="sha256:1"),
    Record(Stage.CREATED, created=True, handle=Handle("oci", "a", "/c/a", 12, created_at=Timestamp(3))),
    Record(Stage.ENDED, exit=Exit(None, True, Timestamp(5)), reason="ünïcode\nand a newline", failed=True),
]


def test_the_last_step_is_what_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "on-demand"
    assert journal.load(directory) is None
    for record in RECORDS:
        journal.append(directory, record)
        assert journal.load(directory) == record


@given(cut=st.integers(0, 2000), noise=st.binary(max_size=40))
@settings(max_examples=60)
def test_a_torn_tail_loses_at_most_the_torn_line(tmp_path_factory: object, cut: int, noise: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for record in RECORDS:
            journal.append(directory, record)
        file = directory / journal.NAME
        whole = file.read_bytes()
        kept = whole[: max(0, len(whole) - cut)]
        file.write_bytes(kept + noise.replace(b"\n", b""))
        ends = [whole.index(b"\n" + record.line().encode()) + 1 + len(record.line().encode()) for record in RECORDS]
        complete = sum(end <= len(kept) for end in ends)
        spoiled = len(kept) in ends and bool(noise.strip())
        possible = [None, *RECORDS][complete - spoiled : complete + 1]
        assert journal.load(directory) in possible
        later = Record(Stage.RELEASED, reason="after the tear")
        journal.append(directory, later)
        assert journal.load(directory) == later


def test_the_journal_is_private(tmp_path: Path) -> None:
    journal.append(tmp_path / "i", Record())
    assert (tmp_path / "i").stat().st_mode & 0o777 == 0o700
