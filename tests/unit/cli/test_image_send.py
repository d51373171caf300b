"""`zlayer image send` (zlayer.cli.image_send)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.cli.image_send import address_of
from zlayer.cli.main import parser_of
from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, ndjson

I = "/api/v1/images"  # noqa: E741  # short in many lines
DIGEST = "sha256:0123456789abcdef"
PART = {"digest": DIGEST, "size": 6}
PARCEL = {"reference": "a:1", "digest": DIGEST, "index_digest": "", "platform": "", "parts": [PART]}


@pytest.fixture
def other(daemon: ScriptedDaemon) -> Iterator[ScriptedDaemon]:
    blob = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"
    daemon.routes |= {f"GET {I}/parcel": Answer(PARCEL), f"GET {I}/blobs": Answer(raw=blob)}
    with ScriptedDaemon() as running:
        running.routes |= {
            f"POST {I}/missing": Answer({"missing": [{**PART, "here": 2}]}),
            f"POST {I}/blobs": Answer({**PART, "here": 6}),
            f"POST {I}/accept": ndjson({"image": {"reference": "a:1", "digest": DIGEST}}),
        }
        yield running


def node(other: ScriptedDaemon) -> str:
    return f"unix://{other.data_dir}/zlayer.sock"


def test_what_went(other: ScriptedDaemon, cli: Cli) -> None:
    done = cli("image", "send", "a:1", node(other))
    assert (done.code, done.out) == (0, f"a:1  {DIGEST}\n")
    assert "0123456789ab done" in done.err
    assert done.err.endswith("6 B sent; 0 blobs were there\n")
    assert cli("image", "send", "-q", "a:1", "b:1", node(other)).out == f"{DIGEST}\n{DIGEST}\n"
    [one] = json.loads(cli("image", "send", "a:1", node(other), "--format", "json").out)
    assert (one["reference"], one["sent"], one["there"]) == ("a:1", 6, 0)


def test_what_would_go(other: ScriptedDaemon, cli: Cli) -> None:
    done = cli("image", "send", "--dry-run", "a:1", "b:1", node(other))
    assert done.out.splitlines()[1].split() == ["a:1", "0123456789ab", "6", "B", "2", "B"]
    assert done.err == "1 blobs, 4 B would go\n"
    [one] = json.loads(cli("image", "send", "--dry-run", "a:1", node(other), "--format", "json").out)
    assert one == {"reference": "a:1", "digest": DIGEST, "missing": [{**PART, "here": 2}], "bytes": 4, "there": 0}
    assert other.seen(f"POST {I}/blobs") == []
    other.routes[f"POST {I}/missing"] = Answer({"missing": []})
    assert "every blob is there already" in cli("image", "send", "--dry-run", "a:1", node(other)).err


def test_where_to_and_who(
    other: ScriptedDaemon, daemon: ScriptedDaemon, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    for text, why in (("", "holds no token"), ("two words", "holds no token")):
        token.write_text(text)
        assert why in cli("image", "send", "a:1", "https://192.0.2.1", "--token-file", str(token)).err
    assert "cannot read" in cli("image", "send", "a:1", "https://192.0.2.1", "--token-file", "/nowhere").err
    done = cli("image", "send", "a:1", "https://192.0.2.1")
    assert (done.code, "wants a token" in done.err) == (2, True)
    assert "the node 'nonsense' is no address" in cli("image", "send", "a:1", "nonsense").err
    assert "is the node the images are on" in cli("image", "send", "a:1", node(daemon)).err
    assert "takes a PEM file" in cli("image", "send", "a:1", node(other), "--ca", "/nowhere").err
    token.write_text("eyJ.abc.def\n")
    refused = cli("image", "send", "a:1", "http://192.0.2.1", "--token-file", str(token))
    assert (refused.code, "in the clear" in refused.err) == (8, True)
    monkeypatch.setenv("ZLAYER_NODE_TOKEN", "a\nb: c")
    assert "ZLAYER_NODE_TOKEN holds no token" in cli("image", "send", "a:1", "https://192.0.2.1").err
    monkeypatch.setenv("ZLAYER_NODE_TOKEN", "eyJ.abc.def")
    args = parser_of("image").parse_args(["send", "a:1", "https://192.0.2.1"])
    assert address_of(args, os.environ).token == "eyJ.abc.def"
