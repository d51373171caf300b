from __future__ import annotations

from zlayer.model.errors import Denied
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import ScriptedDaemon, ndjson

PUSH = "POST /api/v1/images/push"
PUSHED = {"pushed": {"reference": "h/a:1", "digest": "sha256:ffff", "sent": 2048, "there": 3, "mounted": 1}}


def blob(phase: str, done: int = 0) -> dict[str, object]:
    return {"digest": "sha256:0123456789abcdef", "phase": phase, "done": done, "total": 10}


def test_what_went_and_where_it_is(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[PUSH] = ndjson(blob("uploading"), blob("uploading", 5), blob("done"), PUSHED)
    done = cli("push", "a:1", "h/a:1")
    assert (done.code, done.out) == (0, "h/a:1  sha256:ffff\n")
    assert done.err.splitlines()[-1] == "2.0 KiB sent; 3 blobs were there, 1 mounted"
    assert daemon.seen(PUSH)[0].body == {"reference": "a:1", "target": "h/a:1"}
    assert cli("push", "-q", "a:1").out == "sha256:ffff\n"


def test_a_refusal_is_told(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[PUSH] = ndjson(blob("uploading"), {"error": Denied("no right to push").document()})
    done = cli("push", "a:1")
    assert (done.code, done.out) == (8, "")
    assert "no right to push" in done.err


def test_platforms_that_did_not_go_are_named(daemon: ScriptedDaemon, cli: Cli) -> None:
    pushed = {**PUSHED["pushed"], "platform": "linux/amd64", "left": ["linux/arm64", "linux/s390x"]}
    daemon.routes[PUSH] = ndjson({"pushed": pushed})
    assert "only linux/amd64 went; not kept here, and not pushed: linux/arm64, linux/s390x" in cli("push", "a:1").err
