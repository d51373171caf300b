from __future__ import annotations

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


def test_tag(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/images/tag"] = Answer({"reference": "docker.io/library/b:2"})
    assert cli("tag", "a:1", "b:2").out == "docker.io/library/b:2\n"
    assert daemon.seen("POST /api/v1/images/tag")[0].body == {"source": "a:1", "target": "b:2"}
