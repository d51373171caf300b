from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from zlayer.image.trust_config import read_key
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_proof import Proof, verify
from zlayer.image.trust_rules import Key, Rule
from zlayer.testing.signing import Kind, Signer, bundle, payload

NAME = "registry.example/team/app"
DIGEST, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def key_of(signer: Signer, directory: Path) -> Key:
    file = directory / f"{signer.fingerprint[7:15]}.pub"
    file.write_bytes(signer.pem)
    return read_key(file)


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.make()


@pytest.fixture
def rule(signer: Signer, tmp_path: Path) -> Rule:
    return Rule("*", "signature", (key_of(signer, tmp_path),))


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def simple(signer: Signer, content: bytes) -> Proof:
    return Proof("simple-signing", text(content), text(signer.sign(content)), "it")


def bundled(signer: Signer, digest: str = DIGEST, **changes: str) -> Proof:
    envelope = json.loads(bundle(signer, digest, **changes))["dsseEnvelope"]
    return Proof("bundle", envelope["payload"], envelope["signatures"][0]["sig"], "it")


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_each_sort_of_key_signs_each_sort_of_proof(kind: Kind, tmp_path: Path) -> None:
    signer = Signer.make(kind)
    keys = (key_of(Signer.make(), tmp_path), key_of(signer, tmp_path))
    for proof in (simple(signer, payload(DIGEST, NAME)), bundled(signer)):
        found = verify(proof, Rule("*", "signature", keys), NAME, [OTHER, DIGEST])
        assert (found.digest, found.key and found.key.fingerprint, found.kind) == (
            DIGEST,
            signer.fingerprint,
            proof.kind,
        )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (payload(OTHER, NAME), "for another image"),
        (payload(DIGEST, "registry.example/team/other"), "for another repository: registry.example/team/other"),
        (payload(DIGEST, ""), "names no repository"),
        (payload(DIGEST, NAME, "atomic container signature"), "is not a cosign"),
        (payload(DIGEST, NAME).replace(b'"optional":null', b'"optional":null,"optional":1'), "a key twice"),
        (payload(DIGEST, NAME).replace(b'{"docker-manifest', b'{"docker-manifest-digest":"sha256:3","docker-manifest'),
         "a key twice"),
        (payload(DIGEST, NAME).replace(b"docker-manifest", b"Docker-manifest"), "for another image: it names none"),
        (payload(DIGEST, NAME).replace(b'"type"', b'"more":1,"type"'), "is not a cosign"),
        (payload(DIGEST, NAME)[:-1], "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no object 'critical'"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
    ],
)  # fmt: skip
def test_what_the_right_key_signed_is_read_with_suspicion(signer: Signer, rule: Rule, content: bytes, why: str) -> None:
    with pytest.raises(Unproven, match=why):
        verify(simple(signer, content), rule, NAME, [DIGEST])


@pytest.mark.parametrize("identity", [NAME, f"{NAME}:1", f"{NAME}@{DIGEST}", "Registry.example:443/team/app"])
def test_the_repository_may_be_named_with_a_tag_or_digest(signer: Signer, rule: Rule, identity: str) -> None:
    assert verify(simple(signer, payload(DIGEST, identity)), rule, NAME, [DIGEST]).digest == DIGEST


def test_another_repository_where_the_policy_says_so(signer: Signer, rule: Rule) -> None:
    proof = simple(signer, payload(DIGEST, "up.example/app"))
    for others, good in {(): False, ("up.example/*",): True, ("up.example/other",): False, ("*",): True}.items():
        wider = Rule("*", "signature", rule.keys, others)
        if good:
            verify(proof, wider, NAME, [DIGEST])
        else:
            with pytest.raises(Unproven, match="another repository"):
                verify(proof, wider, NAME, [DIGEST])


def test_signatures_that_are_none(signer: Signer, rule: Rule) -> None:
    good = simple(signer, payload(DIGEST, NAME))
    signature = base64.b64decode(good.signature)
    for broken in (signature[:-1], signature + b"\0", b"", signature[::-1], b"0" * 64):
        with pytest.raises(Unproven, match="not by a key of the policy"):
            verify(Proof(good.kind, good.payload, text(broken), "it"), rule, NAME, [DIGEST])
    for garbled in ("%%%", good.signature[:-1], f"{good.signature}\n"):
        with pytest.raises(Unproven, match="is not base64"):
            verify(Proof(good.kind, good.payload, garbled, "it"), rule, NAME, [DIGEST])
    with pytest.raises(Unproven, match="not by a key"):
        verify(simple(Signer.make(), payload(DIGEST, NAME)), rule, NAME, [DIGEST])


def test_one_sort_does_not_pass_for_the_other(signer: Signer, rule: Rule) -> None:
    proof = bundled(signer)
    with pytest.raises(Unproven):
        verify(Proof("simple-signing", proof.payload, proof.signature, "it"), rule, NAME, [DIGEST])
    proof = simple(signer, payload(DIGEST, NAME))
    with pytest.raises(Unproven):
        verify(Proof("bundle", proof.payload, proof.signature, "it"), rule, NAME, [DIGEST])


def test_an_attestation_is_no_signature(signer: Signer, rule: Rule) -> None:
    with pytest.raises(Unproven, match=r"an attestation \(https://slsa.dev/provenance/v1\)"):
        verify(bundled(signer, predicate="https://slsa.dev/provenance/v1"), rule, NAME, [DIGEST])
    with pytest.raises(Unproven, match="for another image"):
        verify(bundled(signer, OTHER), rule, NAME, [DIGEST])
    with pytest.raises(Unproven, match="not by a key"):
        verify(bundled(Signer.make()), rule, NAME, [DIGEST])
