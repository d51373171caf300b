"""The log's word, apart from what it is about (zlayer.image.keyless); trees against RFC 6962's definition."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from zlayer.image.keyless_log import Entry, check_included, entry_of, log_of, promised
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import Log, Span, root_of
from zlayer.testing.sigstore import MADE, Sigstore, text


def test_every_leaf_of_every_small_tree() -> None:
    sigstore = Sigstore()
    root = root_of(sigstore.root())
    entry = entry_of(sigstore.signer().entry(b'{"kind": "x", "apiVersion": "1"}'))
    log = log_of(entry, root)
    for size in range(1, 18):
        for at in range(size):
            proof = sigstore.proof(b'{"kind": "x", "apiVersion": "1"}', before=at, after=size - at - 1)
            check_included(Entry(entry.log_id, 0, 0, entry.body, b"", proof), log)
            for wrong in {at - 1, at + 1, size} - {-1}:
                spoilt = {**json.loads(json.dumps(proof)), "logIndex": str(wrong)}
                with pytest.raises(Unproven, match="does not lead to the root"):
                    check_included(Entry(entry.log_id, 0, 0, entry.body, b"", spoilt), log)


def test_the_promise_has_a_time() -> None:
    sigstore = Sigstore()
    entry = entry_of(sigstore.signer().entry(b'{"kind": "x", "apiVersion": "1"}'))
    assert promised(entry, log_of(entry, root_of(sigstore.root()))) == MADE


def test_a_checkpoint_with_more_lines_and_more_signatures() -> None:
    """Rekor writes a time below the hash; witnesses sign besides, with keys that nobody here knows."""
    key, body = ed25519.Ed25519PrivateKey.generate(), b"body"
    top = text(hashlib.sha256(b"\0" + body).digest())
    note = f"log.example\n1\n{top}\nTimestamp: 1\n"
    log = Log("log", b"hint and more", key.public_key(), Span(datetime(2024, 1, 1, tzinfo=UTC), None))
    good = f"\N{EM DASH} log.example {text(b'hint' + key.sign(note.encode()))}"
    stranger = f"\N{EM DASH} witness.example {text(b'else' + bytes(64))}"
    forged = f"\N{EM DASH} log.example {text(b'hint' + bytes(64))}"

    def look(*lines: str, signed: str = note) -> None:
        envelope = signed + "\n" + "".join(f"{line}\n" for line in lines)
        proof = {"treeSize": "1", "rootHash": top, "checkpoint": {"envelope": envelope}}
        check_included(Entry(b"", 0, 0, text(body), b"", proof), log)

    look(good)
    look(stranger, forged, good)
    for lines in ((), (stranger,), (forged,)):
        with pytest.raises(Unproven, match="did not sign"):
            look(*lines)
    for line in ("- log.example AAAA", "junk"):
        with pytest.raises(Unproven, match="a checkpoint that is none"):
            look(line, good)
    with pytest.raises(Unproven, match="did not sign"):
        look(good, signed=note.replace("Timestamp: 1", "Timestamp: 2"))
