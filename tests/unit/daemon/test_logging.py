from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import structlog

from zlayer.daemon.logging import LogFile, configure, redact
from zlayer.model.units import Bytes


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    made = LogFile(tmp_path / "daemon.log")
    yield made
    made.close()
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def events(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "daemon.log").read_text().splitlines()]


def test_events_are_json_lines_with_their_facts(file: LogFile, tmp_path: Path) -> None:
    configure(file)
    log = structlog.get_logger()
    log.info("instance.started", instance="web-1", pid=7)
    log.debug("not shown")
    [event] = events(tmp_path)
    assert (event["event"], event["level"], event["instance"], event["pid"]) == ("instance.started", "info", "web-1", 7)
    assert str(event["at"]).endswith("Z")


def test_text_for_people_with_a_traceback_below(file: LogFile, tmp_path: Path) -> None:
    configure(file, form="text")
    log = structlog.get_logger()
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("step.failed", step="pull")
    text = (tmp_path / "daemon.log").read_text()
    assert "error   step.failed  step=pull\nTraceback" in text
    assert text.rstrip().endswith("ValueError: broken")


def test_other_libraries_are_heard_from_warnings_up(file: LogFile, tmp_path: Path) -> None:
    configure(file)
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.error").warning("odd: %s", 1)
    [event] = events(tmp_path)
    assert (event["event"], event["source"], event["level"]) == ("odd: 1", "uvicorn.error", "warning")


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("password", "hunter2", "***"),
        ("db_secret", "x", "***"),
        ("Authorization", "Bearer abc", "***"),
        ("api_key", "x", "***"),
        ("error", "GET failed with Authorization: Bearer abcdefgh.ijk", "GET failed with Authorization: Bearer ***"),
        ("image", "basic-auth:1", "basic-auth:1"),
    ],
)
def test_secrets_do_not_reach_the_log(key: str, value: str, wanted: str) -> None:
    assert redact(None, "info", {key: value}) == {key: wanted}


def test_the_file_is_capped_and_the_newest_are_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "daemon.log", cap=Bytes(100), keep=2)
    for number in range(40):
        file.write(f"line {number:03d}\n")
    file.close()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "daemon.log").read_text().endswith("line 039\n")


def test_a_line_larger_than_the_cap_is_still_written(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "daemon.log", cap=Bytes(10))
    file.write("x" * 50 + "\n")
    file.close()
    assert (tmp_path / "daemon.log").stat().st_size == 51


def test_reopened_after_others_rotated_it_and_echoed(tmp_path: Path) -> None:
    screen = StringIO()
    file = LogFile(tmp_path / "daemon.log", echo=screen)
    file.write("before\n")
    (tmp_path / "daemon.log").rename(tmp_path / "moved")
    file.reopen()
    file.write("after\n")
    file.close()
    assert (tmp_path / "daemon.log").read_text() == "after\n"
    assert (tmp_path / "moved").read_text() == "before\n"
    assert screen.getvalue() == "before\nafter\n"
    assert (tmp_path / "daemon.log").stat().st_mode & 0o077 == 0


def test_a_rotation_that_failed_loses_a_line_and_not_the_log(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "daemon.log", cap=Bytes(10))
    file.write("the first\n")
    (tmp_path / "daemon.log.1" / "in the way").mkdir(parents=True)
    file.write("lost\n")
    file.write("told\n")
    assert (tmp_path / "daemon.log").read_text().endswith("told\n")
    file.close()
    file.write("after the end\n")
    assert "after" not in (tmp_path / "daemon.log").read_text()
