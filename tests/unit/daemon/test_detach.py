"""Starting a daemon that outlives its starter: what the starter learns."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.api.services import Facts
from zlayer.daemon.detach import Told, read_answer, start
from zlayer.daemon.options import Options
from zlayer.model.errors import Deadline, Failed, Invalid, Unavailable, from_document
from zlayer.model.paths import Paths
from zlayer.model.units import Seconds, Timestamp

FACTS = Facts("0", 7, "/d", "/d/zlayer.sock", "off", "n1", "fake", Timestamp(0))


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as directory:
        yield Paths.of(Path(directory) / "d")


def test_readiness_is_told_once_and_then_the_pipe_is_closed() -> None:
    reader, writer = os.pipe()
    told = Told(writer)
    told.ready(FACTS)
    told.failed(Unavailable("later"))
    answer = read_answer(reader, Seconds(5))
    os.close(reader)
    assert answer is not None
    assert json.loads(answer) == {"pid": 7, "socket": "/d/zlayer.sock", "bind": "off"}


def test_a_failure_is_told_whole() -> None:
    reader, writer = os.pipe()
    Told(writer).failed(Unavailable("no engine", hint="apt install runc"))
    answer = read_answer(reader, Seconds(5))
    os.close(reader)
    assert answer is not None
    error = from_document(json.loads(answer)["error"])
    assert (type(error), error.hint) == (Unavailable, "apt install runc")


def test_a_starter_that_gave_up_does_not_hurt() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Told(writer).ready(FACTS)


def test_silence_is_told_from_death() -> None:
    reader, writer = os.pipe()
    assert read_answer(reader, Seconds(0.05)) is None
    os.close(writer)
    assert read_answer(reader, Seconds(5)) == b""
    os.close(reader)


def test_the_daemons_own_error_comes_back(paths: Paths) -> None:
    paths.root.mkdir()
    (paths.root / "config.toml").write_text("[daemon]\nbnid = 1\n")
    with pytest.raises(Invalid) as caught:
        start(paths, Options(bind="off"))
    assert caught.value.problems[0].line == 2


def test_a_daemon_that_dies_without_a_word_is_told_with_the_end_of_its_log(paths: Paths) -> None:
    with pytest.raises(Failed) as caught:
        start(paths, Options(bind="off"), program=("-c", "raise SystemExit('out of luck')"))
    assert "out of luck" in caught.value.message
    assert str(paths.log) in caught.value.hint


def test_one_that_takes_too_long_is_ended(paths: Paths) -> None:
    pid_file = paths.root / "child"
    text = f"import os, signal; open({str(pid_file)!r}, 'w').write(str(os.getpid())); signal.pause()"
    with pytest.raises(Deadline):
        start(paths, Options(bind="off"), patience=Seconds(2), program=("-c", text))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIGCONT)
