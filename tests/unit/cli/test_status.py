from __future__ import annotations

import json
from pathlib import Path

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

STATUS = {
    "version": "0.1.0", "pid": 42, "data_dir": "/d", "socket": "/d/zlayer.sock", "bind": "127.0.0.1:3669",
    "uptime_secs": 7200.5, "node": "n1", "runtime": "oci:runc 1.1.5", "rootfs": "copy", "deployments": 1,
    "instances": {"running": 2, "total": 3}, "rss_bytes": 64 * 2**20, "failing": {"routes": "port 80 is taken"},
    "certificates": {
        "total": 3, "first_to_end": "a.org", "not_after": "2020-01-01T00:00:00.000Z", "trouble": [
            {"name": "a.org", "state": "expired", "not_after": "2020-01-01T00:00:00.000Z", "error": "the CA is gone"},
            {"name": "b.org", "state": "failed", "not_after": None, "error": "no such name"},
        ],
    },
    "s3": [{
        "name": "s3://images/", "endpoint": "https://s3.lan", "state": "failing", "why": "503", "since": None,
        "waiting": 2, "waiting_bytes": 2048, "held_up": "it is refused",
    }],
}  # fmt: skip


def test_facts(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/status"] = Answer(STATUS)
    lines = cli("status").out.splitlines()
    assert "pid          42" in lines
    assert "rootfs       copy" in lines
    assert "up           2 hours" in lines
    assert "containers   2 running of 3" in lines
    assert "memory       64.0 MiB" in lines
    assert "api          127.0.0.1:3669" in lines
    assert "routes failing port 80 is taken" in lines
    at = lines.index("s3           s3://images/ at https://s3.lan: does not answer; 2 blobs (2.0 KiB) wait to go up")
    assert lines[at + 1 : at + 3] == ["  503", "  it is refused"]
    assert any(line.startswith("certificates 3, the first to end is a.org, ") for line in lines)
    assert any(line.startswith("certificate expired: a.org, its end ") for line in lines)
    assert lines[-1] == "certificate failed: b.org: no such name"
    assert json.loads(cli("status", "--format", "json").out) == STATUS


def test_it_starts_no_daemon(cli: Cli, tmp_path: Path) -> None:
    done = cli("--data-dir", str(tmp_path / "none"), "status")
    assert done.code == 7
    assert "zlayer daemon start" in done.err
    assert not (tmp_path / "none").exists()
