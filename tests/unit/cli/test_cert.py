from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from zlayer.testing.api_samples import Cli, Doc
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


def at(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def certificate(**changes: object) -> Doc:
    doc: Doc = {
        "name": "a.org", "state": "valid", "source": "acme", "names": ["a.org"], "users": ["shop/web/https"],
        "issuer": "CN=R3", "authority": "https://ca.test/dir", "serial": "1f", "not_before": at(-1e6),
        "not_after": at(30.5 * 86400), "issued_at": at(-1e6), "renew_at": at(7.5 * 3600), "ordering": False,
        "asked": False, "error": "", "failures": 0, "tried_at": at(-1e6), "next_try": None, "note": "", "advice": "",
        "unused_since": None,
    }  # fmt: skip
    return doc | changes


def failed(**changes: object) -> Doc:
    return certificate(
        name="b.org", state="failed", not_after=None, renew_at=None, error="b.org could not be proved: no such name",
        failures=2, next_try=at(270), serial="", **changes,
    )  # fmt: skip


def test_listed(daemon: ScriptedDaemon, cli: Cli) -> None:
    waiting = certificate(state="pending", source=None, not_after=None, renew_at=None, ordering=True)
    second = failed()
    daemon.routes["GET /api/v1/certificates"] = Answer([certificate(), second, waiting])
    lines = cli("cert", "ls").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SOURCE", "ENDS", "NEXT", "USED", "BY"]
    assert lines[1].split("  ")[0] == "a.org"
    assert "in 30 days" in lines[1]
    assert "renewal in 7 hours" in lines[1]
    assert "try in 4 minutes" in lines[2]
    assert " now " in lines[3]
    assert json.loads(cli("cert", "ls", "--format", "json").out)[1] == second


def test_shown(daemon: ScriptedDaemon, cli: Cli) -> None:
    hostile = failed() | {"error": "no\x1b[31m", "chain": ""}
    daemon.routes["GET /api/v1/certificates/b.org"] = Answer(hostile)
    out = cli("cert", "show", "b.org").out
    assert "error        no\\x1b[31m" in out
    assert "tries        2 failed" in out
    done = cli("cert", "show", "b.org", "--pem")
    assert (done.code, done.out) == (7, "")
    daemon.routes["GET /api/v1/certificates/a.org"] = Answer(certificate(chain="-----BEGIN\n"))
    assert cli("cert", "show", "a.org", "--pem").out == "-----BEGIN\n"


def test_renewed_and_waited_for(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/certificates/%2A.a.org/renew"] = Answer(certificate(asked=True), 202)
    daemon.routes["GET /api/v1/certificates/%2A.a.org"] = Answer(certificate(name="*.a.org", serial="2f"))
    done = cli("cert", "renew", "*.a.org")
    assert (done.code, "*.a.org has serial 2f and ends in 30 days" in done.err) == (0, True)


def test_a_wish_in_vain_says_why(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/certificates/b.org/renew"] = Answer(failed(), 202)
    daemon.routes["GET /api/v1/certificates/b.org"] = Answer(failed())
    done = cli("cert", "renew", "b.org")
    assert done.code == 1
    assert "no such name" in done.err
    assert cli("cert", "renew", "b.org", "--no-wait").code == 0


def test_one_that_takes_too_long(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["POST /api/v1/certificates/b.org/renew"] = Answer(failed(), 202)
    daemon.routes["GET /api/v1/certificates/b.org"] = Answer(failed(asked=True))
    assert cli("cert", "renew", "b.org", "--timeout", "0").code == 4
