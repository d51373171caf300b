from __future__ import annotations

from pathlib import Path

from zlayer.cli.tailing import follow


def test_lines_as_they_are_written_across_rotation(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("before\n")
    file = log.open()
    file.read()
    lines = follow(log, file)
    with log.open("a") as writing:
        writing.write("one\ntw")
        writing.flush()
        assert next(lines) == "one"
        writing.write("o\n")
        writing.flush()
        assert next(lines) == "two"
    log.rename(tmp_path / "daemon.log.1")
    log.write_text("three\n")
    assert next(lines) == "three"
    lines.close()
    assert file.closed
