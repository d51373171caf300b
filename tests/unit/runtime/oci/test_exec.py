"""What an exec runs as, and the codes of what could not run."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import anyio
import pytest

from zlayer.model.errors import Exhausted, Failed, Invalid, ZlayerError
from zlayer.runtime.contract import ExecRequest
from zlayer.runtime.oci.exec import Ends, ExecSession, _scratch, end_stale_execs, process_of, refused_code, set_size
from zlayer.runtime.oci.inotify import Inotify
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.processes import identify
from zlayer.runtime.oci.streams import Descriptor


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("web:x:33:34::/var/www:/bin/sh\n")
    capabilities = {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]}
    process = {
        "terminal": True, "user": {"uid": 0, "gid": 0}, "args": ["app"], "env": ["A=1", "HOME=/root"], "cwd": "/srv",
        "capabilities": capabilities, "noNewPrivileges": True,
    }  # fmt: skip
    return {"process": process, "root": {"path": str(tmp_path)}}


def test_the_containers_own_process_with_changes(config: dict[str, Any]) -> None:
    found = process_of(config, ExecRequest(("ls", "-l"), env={"B": "2", "A": "3"}))
    assert found["args"] == ["ls", "-l"]
    assert found["env"] == ["A=3", "HOME=/root", "B=2"]
    assert (found["cwd"], found["terminal"], found["noNewPrivileges"]) == ("/srv", False, True)
    assert found["capabilities"] == config["process"]["capabilities"]


def test_another_user_loses_what_was_effective(config: dict[str, Any]) -> None:
    found = process_of(config, ExecRequest(("id",), user="web", cwd="/tmp", tty=True))
    assert found["user"] == {"uid": 33, "gid": 34, "additionalGids": [34]}
    assert found["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}
    assert found["env"] == ["A=1", "HOME=/var/www", "TERM=xterm"]
    assert found["cwd"] == "/tmp"
    with pytest.raises(Invalid):
        process_of(config, ExecRequest(("id",), user="ghost"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b'exec failed: unable to start container process: exec: "x": executable file not found in $PATH', 127),
        (b'exec: "/no": stat /no: no such file or directory', 127),
        (b'exec: "/etc/passwd": permission denied', 126),
        (b"exec format error", 126),
        (b"something else", None),
        (b'level=fatal msg="nsexec-1[7]: failed to open /proc/7/ns/ipc: No such file or directory"', None),
        (b"open /sys/fs/cgroup/pids/z/c/cgroup.procs: no such file or directory", None),
    ],
)
def test_codes_as_shells_have_them(words: bytes, code: int | None) -> None:
    assert refused_code(words) == code


def test_scratch_of_earlier_daemons_goes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    old = layout.bundle / "exec-1-1-abc"
    old.mkdir(parents=True)
    (old / "pid").write_text("1")
    end_stale_execs(layout, inside=set())
    assert not old.exists()


def test_only_a_terminal_is_given_a_size(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    for stdin, expected in ((slave, True), (subprocess.DEVNULL, False)):
        with subprocess.Popen(["sleep", "100"], stdin=stdin) as child:
            assert set_size(child.pid, 12, 34) is expected
            child.kill()
    assert _size(master) == (12, 34)
    assert not set_size(None, 1, 1)
    assert not set_size(2**22 + 1, 1, 1)
    os.close(master)
    os.close(slave)


@pytest.mark.anyio
async def test_input_comes_after_the_size_that_was_set_before_it(tmp_path: Path) -> None:
    """Though the engine tells the program's pid late: runc does so after the program has begun to speak."""
    outer, theirs = pty.openpty()
    inner, slave = pty.openpty()
    inotify, init = Inotify(), identify(os.getpid())
    assert init is not None
    engine, program = _sleeper(subprocess.DEVNULL), _sleeper(slave)
    ends = Ends((("stdout", outer),), os.dup(outer), (theirs,) * 3, terminal=True)
    typed = Descriptor(theirs)
    async with ExecSession(engine, ends, tmp_path, init, inotify) as session:
        await session.resize(12, 34)
        assert _size(inner) != (12, 34)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.send, b"x\n")
            await anyio.wait_all_tasks_blocked()
            (tmp_path / "pid").write_text(str(program.pid))
            with anyio.fail_after(20):
                await typed.readable()
            assert _size(inner) == (12, 34)
    program.kill()
    program.wait()
    typed.close()
    inotify.close()
    os.close(inner)
    os.close(slave)


def _sleeper(stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "100"], stdin=stdin)


def _size(terminal: int) -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, Exhausted), (errno.EROFS, Failed)])
def test_a_disk_that_takes_nothing_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[ZlayerError]
) -> None:
    layout = Layout(tmp_path)
    layout.bundle.mkdir()

    def refuse(self: Path, _text: str) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(kind, match=os.strerror(number)):
        _scratch(layout, {})
    assert list(layout.bundle.iterdir()) == []
