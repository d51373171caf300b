from __future__ import annotations

import json

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

POLICY = {"match": "r.example/*", "require": "signature", "file": "/d/config.toml", "line": 3,
          "keys": {"/d/cosign.pub": "sha256:ab"}, "signed_as": []}  # fmt: skip
SIGNED = {"kind": "simple-signing", "digest": "sha256:1", "key": "sha256:ab", "key_file": "/d/cosign.pub",
          "found": "signature 1 of sha256-1.sig"}  # fmt: skip
GOOD = {"reference": "r.example/a:1", "digest": "sha256:1", "local": True, "allowed": True, "reason": "",
        "policy": POLICY, "verified": SIGNED}  # fmt: skip
ROUTE = "GET /api/v1/images/trust"


def test_what_was_verified_and_by_which_key(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[ROUTE] = Answer(GOOD)
    assert cli("image", "trust", "r.example/a:1").out.splitlines() == [
        "IMAGE    r.example/a:1",
        "DIGEST   sha256:1",
        "POLICY   r.example/* requires signature (/d/config.toml:3)",
        "KEY      sha256:ab /d/cosign.pub",
        "SIGNED   sha256:1",
        "BY       sha256:ab /d/cosign.pub",
        "FOUND    simple-signing: signature 1 of sha256-1.sig",
        "VERDICT  allowed",
    ]
    assert json.loads(cli("image", "trust", "r.example/a:1", "--format", "json").out) == GOOD


def test_who_signed_without_a_key(daemon: ScriptedDaemon, cli: Cli) -> None:
    issuer = "https://issuer.example"
    policy = {**POLICY, "keys": {}, "identities": [{"issuer": issuer, "subject": "*@example.com"}],
              "trusted_root": "/d/root.json"}  # fmt: skip
    signed = {**SIGNED, "key": "", "key_file": "", "issuer": issuer, "subject": "dev@example.com",
              "log": "https://rekor.example", "log_index": 4321, "signed_at": "2024-05-06T12:00:00Z"}  # fmt: skip
    daemon.routes[ROUTE] = Answer({**GOOD, "policy": policy, "verified": signed})
    assert cli("image", "trust", "r.example/a:1").out.splitlines()[3:] == [
        "IDENTITY *@example.com by https://issuer.example",
        "ROOT     /d/root.json",
        "SIGNED   sha256:1",
        "BY       dev@example.com",
        "ISSUER   https://issuer.example",
        "LOGGED   https://rekor.example at index 4321",
        "TIME     2024-05-06T12:00:00Z",
        "FOUND    simple-signing: signature 1 of sha256-1.sig",
        "VERDICT  allowed",
    ]


def test_the_exit_code_of_an_image_that_may_not_run(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[ROUTE] = Answer(
        {**GOOD, "allowed": False, "reason": "it has no signature", "verified": None, "policy": {**POLICY, "line": 0}}
    )
    done = cli("image", "trust", "r.example/a:1")
    assert (done.code, done.out.splitlines()[-1]) == (8, "VERDICT  refused: it has no signature")
    assert "(/d/config.toml)" in done.out


def test_without_a_policy(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[ROUTE] = Answer({**GOOD, "policy": None, "verified": None, "digest": ""})
    done = cli("image", "trust", "a")
    assert (done.code, done.out.splitlines()[1:]) == (
        0, ["DIGEST   -", "POLICY   none: every image may run", "VERDICT  allowed"],
    )  # fmt: skip
