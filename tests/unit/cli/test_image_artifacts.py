"""`zlayer image referrers`, `attach` and `sbom` (zlayer.cli.image_artifacts)."""

from __future__ import annotations

import json
from pathlib import Path

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

ONE = {"digest": "sha256:0123456789abcdef", "type": "application/spdx+json", "media_type": "m", "size": 1024,
       "subject": "sha256:fedcba9876543210", "annotations": {"a": "b"}}  # fmt: skip


def test_referrers(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/images/referrers"] = Answer([ONE])
    row = cli("image", "referrers", "h/a:1").out.splitlines()[1]
    assert row.split() == ["sha256:0123456789abcdef", "application/spdx+json", "1.0", "KiB", "fedcba987654"]
    assert json.loads(cli("image", "referrers", "h/a:1", "--type", "x/y", "--format", "json").out) == [ONE]
    assert "type=x" in daemon.seen("GET /api/v1/images/referrers")[-1].target


def test_attach(daemon: ScriptedDaemon, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b"{}" * 300_000)
    daemon.routes["POST /api/v1/images/attach"] = Answer({"digest": "sha256:1", "subject": "sha256:2", "listed": "tag"})
    done = cli("image", "attach", "a:1", str(tmp_path / "s.json"), "--type", "application/spdx+json")
    assert (done.code, done.out) == (0, "sha256:1\n")
    assert "fallback tag" in done.err
    [asked] = daemon.seen("POST /api/v1/images/attach")
    assert asked.body == b"{}" * 300_000
    assert "name=s.json" in asked.target
    assert cli("image", "attach", "a:1", "/no/such", "--type", "a/b").code == 1
    assert len(daemon.seen("POST /api/v1/images/attach")) == 1


def test_sbom(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/images/sbom"] = Answer({"digest": "sha256:1", "type": "t/t", "text": '{"a": 1}\n'})
    assert cli("image", "sbom", "a:1").out == '{"a": 1}\n'
