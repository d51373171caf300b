from __future__ import annotations

import json

from zlayer.model.errors import Conflict
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, error_answer

ALPINE = {"reference": "alpine:3", "digest": "sha256:0123456789abcdef", "platform": "linux/amd64", "size": 3 * 2**20,
          "pulled_at": None}  # fmt: skip


def test_ls(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/images"] = Answer([ALPINE])
    assert cli("image", "ls").out.splitlines()[1] == "alpine:3  0123456789ab  linux/amd64  3.0 MiB  -"
    assert cli("image", "ls", "-q").out == "alpine:3\n"
    assert json.loads(cli("image", "ls", "--format", "json").out) == [ALPINE]


def test_inspect_shows_all_the_daemon_says(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/images/localhost:5000/a:1"] = Answer(ALPINE | {"config": {"cmd": ["sh"]}})
    assert json.loads(cli("image", "inspect", "localhost:5000/a:1").out)["config"] == {"cmd": ["sh"]}


def test_rm(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["DELETE /api/v1/images/a"] = Answer({"deleted": ["a", "sha256:1"]})
    daemon.routes["DELETE /api/v1/images/b"] = error_answer(Conflict("b is used by shop-web-1"))
    done = cli("image", "rm", "a", "b")
    assert (done.code, done.out) == (6, "a\nsha256:1\n")
    assert "b is used by shop-web-1" in done.err
