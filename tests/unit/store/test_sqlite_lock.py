from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.model.errors import Conflict
from zlayer.store.sqlite_lock import FileLock


def test_the_second_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = FileLock(path, guards=tmp_path / "state.db")
    with pytest.raises(Conflict, match=f"state.db is in use by process {os.getpid()}$") as refused:
        FileLock(path, guards=tmp_path / "state.db")
    assert "--data-dir" in refused.value.hint
    held.release()
    FileLock(path, guards=tmp_path / "state.db").release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_holder_that_did_not_say_its_pid(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = FileLock(path, guards=path)
    path.write_text("")
    with pytest.raises(Conflict, match="another process"):
        FileLock(path, guards=path)
    held.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from zlayer.store.sqlite_lock import FileLock;"
        "lock = FileLock(Path(sys.argv[1]), guards=Path('x')); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=f"process {holder.pid}"):
            FileLock(path, guards=path)
        holder.kill()
        holder.wait()
    FileLock(path, guards=path).release()
