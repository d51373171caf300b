from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zlayer.agent import ends, journal


@pytest.mark.parametrize(
    ("number", "word"), [(errno.EMFILE, "open files"), (errno.ENFILE, "open files"), (errno.ENOSPC, "disk")]
)
def test_the_hint_names_what_ran_out(number: int, word: str) -> None:
    assert word in ends.exhausted("create", OSError(number, "no")).hint


def test_exit_codes_are_dockers() -> None:
    codes = [ends.exit_code("start", reason) for reason in ("sh: not found", "sh: permission denied", "broken")]
    assert [*codes, ends.exit_code("pull", "not found")] == [127, 126, 125, 125]
    crun = "crun: open executable: Operation not permitted (/etc); the program is not executable for this user"
    assert ends.exit_code("create", crun) == 126


def test_an_end_nobody_saw_is_explained_by_what_is_left(tmp_path: Path) -> None:
    assert "deleted" in ends.why_unknown(tmp_path)
    (tmp_path / journal.NAME).touch()
    assert "nobody watched" in ends.why_unknown(tmp_path)
