"""The record and the exit file: whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.model.errors import Corrupt
from zlayer.runtime.contract import Handle
from zlayer.runtime.oci.layout import (
    Layout,
    Record,
    boot_id,
    exit_seen,
    read_number,
    read_record,
    write_record,
)
from zlayer.runtime.oci.processes import Process


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "c")
    made.prepare()
    made.prepare()
    return made


def record(layout: Layout) -> Record:
    handle = Handle("oci", "x", str(layout.directory), 10, 11, 12, 13)
    return Record(handle, boot_id(), "1:2", "/p/x", "runc", 99, tty=True, stdin=False)


def test_a_record_comes_back_as_it_was(layout: Layout) -> None:
    assert read_record(layout) is None
    write_record(layout, record(layout))
    assert read_record(layout) == record(layout)
    assert record(layout).process == Process(10, 11)
    assert record(layout).monitor == Process(12, 13)


def test_a_broken_record_is_corrupt_not_absent(layout: Layout) -> None:
    for text in ("", "{", "[]", '{"handle": {}}', '{"handle": {"driver": 1}, "more": 2}'):
        layout.record.write_text(text)
        with pytest.raises(Corrupt):
            read_record(layout)


def test_exit_codes(layout: Layout) -> None:
    assert exit_seen(layout) is None
    layout.exit.write_text("137")
    seen = exit_seen(layout)
    assert seen is not None
    assert (seen[0], seen[1]) == (137, layout.exit.stat().st_mtime)
    layout.exit.write_text("")
    assert exit_seen(layout) is None
    assert read_number(layout.exit / "no") is None


def test_discard_leaves_the_log_and_is_idempotent(layout: Layout) -> None:
    layout.log.write_text("x")
    (layout.directory / ".bundle-removed").mkdir()
    for _ in range(2):
        layout.discard()
        assert [p.name for p in layout.directory.iterdir()] == ["log"]
