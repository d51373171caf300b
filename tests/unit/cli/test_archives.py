"""`zlayer export` and `zlayer import` (zlayer.cli.export, zlayer.cli.import_)."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.cli import export, import_
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

BODY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_a_file_appears_when_it_is_whole(daemon: ScriptedDaemon, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    daemon.routes["GET /api/v1/images/export"] = Answer(raw=BODY)
    done = cli("export", "a:1", "b:2", "--zstd", "-o", str(path))
    assert (done.code, path.read_bytes()) == (0, b"abcde")
    assert "5 B" in done.err
    [asked] = daemon.seen("GET /api/v1/images/export")
    assert asked.target.endswith("?reference=a:1&reference=b:2&compression=zstd")


def test_half_a_file_does_not(daemon: ScriptedDaemon, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    daemon.routes["GET /api/v1/images/export"] = Answer(raw=BODY[:-12])
    done = cli("export", "a:1", "-o", str(path))
    assert done.code == 7
    assert list(tmp_path.glob("x*")) == []
    assert cli("export", "a:1", "-o", str(tmp_path / "no" / "x.tar")).code == 1


def test_an_archive_goes_in(daemon: ScriptedDaemon, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"z" * 600_000)
    image = {"reference": "a:1", "digest": "sha256:ff"}
    daemon.routes["POST /api/v1/images/import"] = Answer([image])
    done = cli("import", str(path), "--rootfs", "-t", "a:1")
    assert (done.code, done.out) == (0, "a:1  sha256:ff\n")
    [asked] = daemon.seen("POST /api/v1/images/import")
    assert asked.body == path.read_bytes()
    assert asked.target.endswith("?name=a:1&rootfs=true") or asked.target.endswith("?name=a%3A1&rootfs=true")


@pytest.mark.parametrize("source", ["/no/such/file", "/", "http://127.0.0.1:1/x.tar"])
def test_what_cannot_be_read_is_told(daemon: ScriptedDaemon, cli: Cli, source: str) -> None:
    done = cli("import", source)
    assert done.code in (1, 7)
    assert "hint:" in done.err


def test_both_have_examples() -> None:
    assert "zlayer export" in export.EXAMPLES
    assert "zlayer import" in import_.EXAMPLES
