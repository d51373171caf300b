from __future__ import annotations

from zlayer.model.errors import Denied
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import ScriptedDaemon, ndjson

PULL = "POST /api/v1/images/pull"
IMAGE = {"image": {"reference": "alpine:3", "digest": "sha256:ffff"}}


def blob(phase: str, done: int = 0) -> dict[str, object]:
    return {"digest": "sha256:0123456789abcdef", "phase": phase, "done": done, "total": 10}


def test_plain_lines_where_there_is_no_terminal(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[PULL] = ndjson(blob("downloading"), blob("downloading", 5), blob("done"), IMAGE)
    done = cli("pull", "alpine:3", "--policy", "newer", "--platform", "linux/arm64")
    assert (done.code, done.out) == (0, "alpine:3  sha256:ffff\n")
    assert done.err == "0123456789ab downloading\n0123456789ab done\n"
    assert daemon.seen(PULL)[0].body == {"reference": "alpine:3", "policy": "newer", "platform": "linux/arm64"}


def test_quiet(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[PULL] = ndjson(blob("done"), IMAGE)
    done = cli("pull", "-q", "alpine:3")
    assert (done.out, done.err) == ("sha256:ffff\n", "")


def test_a_failure_in_the_middle(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[PULL] = ndjson(blob("downloading"), {"error": Denied("401 from the registry").document()})
    done = cli("pull", "alpine:3")
    assert (done.code, done.out) == (8, "")
    assert "401 from the registry" in done.err


def test_a_rate_is_a_size_or_none(daemon: ScriptedDaemon, cli: Cli) -> None:
    mirror = {"digest": "mirror h:5000", "phase": "failed, asking further: no", "done": 0, "total": 0}
    daemon.routes["POST /api/v1/images/pull"] = ndjson(mirror, {"image": {"reference": "a:1", "digest": "sha256:1"}})
    done = cli("pull", "a:1", "--limit-rate", "2M")
    assert "mirror h:5000 failed, asking further: no" in done.err
    cli("pull", "a:1", "--limit-rate", "0")
    cli("pull", "a:1")
    bodies = [one.body.get("limit_rate") for one in daemon.seen("POST /api/v1/images/pull")]
    assert bodies == [2 * 2**20, 0, None]
    assert cli("pull", "a:1", "--limit-rate", "fast").code == 2
