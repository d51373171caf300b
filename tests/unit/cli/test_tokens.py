from __future__ import annotations

import json

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import ScriptedDaemon


def test_a_token_says_what_it_was_made_for(daemon: ScriptedDaemon, cli: Cli) -> None:
    made = cli("token", "create", "-s", "ci", "-r", "operator", "-r", "reader", "-H", "1")
    assert made.code == 0
    assert (daemon.data_dir / "jwt.key").stat().st_mode & 0o777 == 0o600
    read = json.loads(cli("token", "decode", made.out.strip(), "--format", "json").out)
    assert (read["subject"], read["roles"]) == ("ci", ["operator", "reader"])
    table = cli("token", "decode", made.out.strip()).out.splitlines()
    assert table[:2] == ["subject  ci", "roles    operator, reader"]
    assert table[2].endswith("(in 59 minutes)")


def test_by_default_an_administrators(cli: Cli) -> None:
    made = cli("token", "create").out.strip()
    assert json.loads(cli("token", "decode", made, "--format", "json").out)["roles"] == ["admin"]


def test_what_is_wrong_is_refused(cli: Cli) -> None:
    assert cli("token", "decode", "x.y.z").code == 1
    assert cli("token", "create", "-r", "emperor").code == 2
    assert cli("token", "decode", "x.y.z").code == 8
