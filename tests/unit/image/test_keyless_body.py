"""Each kind of log entry: what it must say of the signature, and that each part of it counts."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest

from zlayer.image.keyless_body import Subject, check_about
from zlayer.image.trust_json import Unproven
from zlayer.testing.sigstore import Json, Keyless, Sigstore, text

PAYLOAD, MESSAGE = b"payload", b"message"


@pytest.fixture(scope="module")
def signer() -> Keyless:
    return Sigstore().signer()


def bodies(signer: Keyless, signature: bytes) -> dict[str, bytes]:
    held = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": text(signer.der)}}

    def digest(content: bytes) -> Json:
        return {"algorithm": "SHA2_256", "digest": text(hashlib.sha256(content).digest())}

    record = {"data": digest(MESSAGE), "signature": {"content": text(signature), "verifier": held}}
    envelope = {"payloadHash": digest(PAYLOAD), "signatures": [{"content": text(signature), "verifier": held}]}
    content = {
        "envelope": {"signatures": [{"sig": text(text(signature).encode()), "publicKey": text(signer.pem)}]},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(PAYLOAD).hexdigest()},
    }

    def body(kind: str, spec: Json) -> bytes:
        return json.dumps({"kind": kind, "apiVersion": "0.0.2", "spec": spec}).encode()

    return {
        "hashedrekord 0.0.1": signer.record(MESSAGE, signature),
        "hashedrekord 0.0.2": body("hashedrekord", {"hashedRekordV002": record}),
        "dsse 0.0.1": signer.envelope_record(PAYLOAD, signature),
        "dsse 0.0.2": body("dsse", {"dsseV002": envelope}),
        "intoto 0.0.2": body("intoto", {"content": content}),
    }


KINDS = ("hashedrekord 0.0.1", "hashedrekord 0.0.2", "dsse 0.0.1", "dsse 0.0.2", "intoto 0.0.2")


@pytest.mark.parametrize("kind", KINDS)
def test_each_part_counts(signer: Keyless, kind: str) -> None:
    signature = signer.sign(MESSAGE)
    subject = Subject(signer.der, signature, MESSAGE, PAYLOAD)
    body = bodies(signer, signature)[kind]
    name, version = kind.split()
    check_about(body, name, version, subject)
    check_about(body, "", "", subject)
    for change, why in (
        (replace(subject, certificate=Sigstore().signer().der), "another certificate"),
        (replace(subject, signature=b"x"), "another signature"),
        (replace(subject, message=b"x", payload=b"x"), "another artifact"),
    ):
        with pytest.raises(Unproven, match=why):
            check_about(body, name, version, change)
    with pytest.raises(Unproven, match="another kind than it says"):
        check_about(body, name, "0.0.9", subject)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"sha256"', '"sha1"', "another hash than sha256"),
        ('"value":"', '"value":"zz', "whose digest is none"),
        ('"data"', '"date"', "no object 'data'"),
    ],
)
def test_bodies_that_are_none(signer: Keyless, old: str, new: str, why: str) -> None:
    signature = signer.sign(MESSAGE)
    body = signer.record(MESSAGE, signature).decode().replace(old, new).encode()
    with pytest.raises(Unproven, match=why):
        check_about(body, "", "", Subject(signer.der, signature, MESSAGE, None))


def test_a_key_instead_of_a_certificate(signer: Keyless) -> None:
    signature = signer.sign(MESSAGE)
    document = json.loads(signer.record(MESSAGE, signature))
    document["spec"]["signature"]["publicKey"]["content"] = base64.b64encode(b"-----BEGIN PUBLIC KEY-----").decode()
    with pytest.raises(Unproven, match="without a certificate"):
        check_about(json.dumps(document).encode(), "", "", Subject(signer.der, signature, MESSAGE, None))
