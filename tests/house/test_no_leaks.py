"""The leak count of a session: it sees a leak and fails, it is quiet without one, and it ignores other suites.

The count itself runs over every session with `-p zlayer.testing.leak_check` (see that module).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.testing.netns import short_directory

CLEAN = "def test_nothing():\n    assert True\n"
LEAKY = """
import subprocess
from pathlib import Path

def test_leaks():
    target = Path(__file__).parent / "left"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(target)], check=True)
"""
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: leaks a mount on purpose"),
]


def session(directory: Path, source: str) -> subprocess.CompletedProcess[str]:
    """A pytest session of its own over one test file; its lock and its cache are below `directory`."""
    (directory / "test_it.py").write_text(source)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "zlayer.testing.leak_check",
        "--leak-settle=0.5",
        "-c",
        os.devnull,
    ]
    argv += ["-p", "no:cacheprovider", "-p", "no:randomly", f"--rootdir={directory}", "test_it.py"]
    environ = {**os.environ, "TMPDIR": str(directory)}
    return subprocess.run(argv, cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=100)


def test_a_session_that_leaks_fails_and_says_what() -> None:
    with short_directory() as directory:
        try:
            done = session(directory, LEAKY)
        finally:
            subprocess.run(["umount", str(directory / "left")], check=False)
    assert f"+ mounts: {directory}/left" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr


def test_a_clean_session_passes() -> None:
    with short_directory() as directory:
        done = session(directory, CLEAN)
    assert f"{directory}" not in done.stdout.partition("left behind")[2]
    assert "1 passed" in done.stdout


def test_beside_another_suite_it_says_that_it_did_not_count() -> None:
    with short_directory() as directory, (directory / f"zlayer-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        done = session(directory, CLEAN)
    assert "leaks not counted" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
