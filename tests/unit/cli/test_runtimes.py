from __future__ import annotations

import json

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

FOUND = [
    {"name": "oci", "ok": True, "engine": "runc 1.1.5", "reason": "", "fix": "", "selected": True},
    {
        "name": "crun",
        "ok": False,
        "engine": "",
        "reason": "absent",
        "fix": "apt install crun",
        "selected": False,
    },
]


def test_which_work_and_what_the_others_lack(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/runtimes"] = Answer(FOUND)
    assert cli("runtimes").out.splitlines() == [
        "RUNTIME  WORKS  USED  ENGINE      NOTE",
        "oci      yes    *     runc 1.1.5  -",
        "crun     no     -     -           absent; apt install crun",
    ]
    assert json.loads(cli("runtimes", "--format", "json").out) == FOUND
