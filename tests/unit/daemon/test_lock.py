from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.daemon.lock import hold, holder
from zlayer.model.errors import Conflict

HOLD = "import sys; from pathlib import Path; from zlayer.daemon.lock import hold\nwith hold(Path(sys.argv[1])):\n"
UNTIL_TOLD = HOLD + "    print('held', flush=True); sys.stdin.read()"


def test_the_file_names_the_holder_while_held(tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    assert holder(path) is None
    with hold(path):
        assert path.read_text().strip() == str(os.getpid())
        assert holder(path) == os.getpid()
    assert holder(path) is None
    assert path.read_text() == ""


def test_a_second_one_is_refused_with_the_pid_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    with hold(path), pytest.raises(Conflict) as caught, hold(path):
        raise AssertionError("held twice")
    assert str(os.getpid()) in caught.value.message
    assert "daemon stop" in caught.value.hint


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    with subprocess.Popen(
        [sys.executable, "-c", UNTIL_TOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert holder(path) == other.pid
        with pytest.raises(Conflict, match=str(other.pid)), hold(path):
            raise AssertionError("held twice")
        other.kill()
    assert path.read_text().strip() == str(other.pid)  # a stale pid locks nothing
    assert holder(path) is None
    with hold(path):
        assert holder(path) == os.getpid()


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    with hold(path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert holder(path) is None
    finally:
        child.communicate()


def test_a_lock_on_a_file_that_lost_its_name_is_no_lock(tmp_path: Path) -> None:
    """`daemon reset` takes the file away: who had it open by then must not think it has the directory."""
    path = tmp_path / "daemon.pid"
    with hold(path):
        waiting = os.open(path, os.O_RDWR)
        path.unlink()
    try:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with hold(path):
            assert os.fstat(waiting).st_nlink == 0
            assert holder(path) == os.getpid()
    finally:
        os.close(waiting)
