"""Speaking to conmon: what it is given, and what it may answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Deadline, Failed
from zlayer.runtime.oci.conmon import Monitored, argv_of, find, launch
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import Layout

pytestmark = pytest.mark.anyio
ENGINE = Engine("runc", "/usr/sbin/runc", "1", Path("/state"))


@pytest.fixture
def what(tmp_path: Path) -> Monitored:
    layout = Layout(tmp_path / "c")
    layout.prepare()
    return Monitored("c", layout, tty=False, stdin=True, program="app", log_segment=512)


def fake(tmp_path: Path, body: str) -> str:
    path = tmp_path / "conmon"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


async def answer(tmp_path: Path, what: Monitored, body: str, timeout: float = 20) -> int:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        with anyio.fail_after(30):
            return await launch(fake(tmp_path, body), ENGINE, what, lock=lock, timeout=timeout)
    finally:
        os.close(lock)


def test_arguments(what: Monitored) -> None:
    argv = argv_of("/usr/bin/conmon", ENGINE, what)
    assert argv[argv.index("-b") + 1] == str(what.layout.bundle)
    assert argv[argv.index("--log-size-max") + 1] == "512"
    assert argv[argv.index("-l") + 1] == f"k8s-file:{what.layout.log}"
    assert ("-i" in argv, "-t" in argv) == (True, False)
    assert "/state" in argv


def saying(text: str) -> str:
    return f"echo '{text}' > /proc/self/fd/$_OCI_SYNCPIPE"


async def test_a_pid_is_a_success(tmp_path: Path, what: Monitored) -> None:
    assert await answer(tmp_path, what, saying('{"data": 4711}')) == 4711


async def test_the_engines_words_are_ours(tmp_path: Path, what: Monitored) -> None:
    with pytest.raises(Failed, match="runc: no luck"):
        await answer(tmp_path, what, saying('{"data": -1, "message": "runc create failed: no luck"}'))


@pytest.mark.parametrize("body", ["exit 1", "true", saying("nonsense"), saying("{}"), saying('{"data": "x"}')])
async def test_no_answer_is_a_failure(tmp_path: Path, what: Monitored, body: str) -> None:
    with pytest.raises(Failed, match="conmon"):
        await answer(tmp_path, what, body)


async def test_silence_has_an_end(tmp_path: Path, what: Monitored) -> None:
    with pytest.raises(Deadline):
        await answer(tmp_path, what, "exec sleep 100", timeout=0.1)
    assert find(what.layout) == []


def test_it_is_found_by_its_bundle(what: Monitored) -> None:
    argv = ["sh", "-c", "echo up; read x", str(what.layout.bundle)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        assert find(what.layout) == [child.pid]
    assert find(what.layout) == []
