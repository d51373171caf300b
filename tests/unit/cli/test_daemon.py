from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


def test_start_when_it_runs_already(daemon: ScriptedDaemon, cli: Cli) -> None:
    with (daemon.data_dir / "daemon.pid").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        done = cli("daemon", "start")
    assert done.code == 0
    assert done.err == f"the daemon runs already (pid {os.getpid()}, {daemon.data_dir}/zlayer.sock)\n"


def test_stop_when_none_runs(daemon: ScriptedDaemon, cli: Cli) -> None:
    done = cli("daemon", "stop")
    assert (done.code, done.err) == (0, f"no daemon runs on {daemon.data_dir}\n")


def test_stop(daemon: ScriptedDaemon, cli: Cli) -> None:
    code = (
        "import fcntl,os,signal,sys; lock=open(sys.argv[1],'w'); fcntl.flock(lock,fcntl.LOCK_EX);"
        "lock.write(str(os.getpid())); lock.flush(); print(flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", code, str(daemon.data_dir / "daemon.pid")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as running:
        assert running.stdout
        running.stdout.readline()
        done = cli("daemon", "stop")
        assert running.wait(5) == -signal.SIGTERM
    assert (done.code, done.err) == (0, f"the daemon (pid {running.pid}) is stopped; its containers run on\n")


def test_status_is_that_of_status(daemon: ScriptedDaemon, cli: Cli, tmp_path: Path) -> None:
    daemon.routes["GET /api/v1/status"] = Answer({"version": "9"})
    assert cli("daemon", "status").out == cli("status").out
    assert cli("daemon", "status", "--data-dir", str(tmp_path)).code == 7


def test_logs(daemon: ScriptedDaemon, cli: Cli) -> None:
    assert cli("daemon", "logs").code == 1
    (daemon.data_dir / "daemon.log").write_text("one\ntwo\nthree\n")
    assert cli("daemon", "logs").out == "one\ntwo\nthree\n"
    assert cli("daemon", "logs", "-n", "1").out == "three\n"


def test_reset_asks_and_changes_nothing_where_nobody_can_answer(daemon: ScriptedDaemon, cli: Cli) -> None:
    (daemon.data_dir / "state.db").touch()
    done = cli("daemon", "reset")
    assert (done.code, done.err.splitlines()[-1]) == (1, "nothing was changed: where nobody can be asked, say --force")
    assert (daemon.data_dir / "state.db").exists()
