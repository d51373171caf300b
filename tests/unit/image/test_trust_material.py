"""Both shapes of keyless signatures, and one that the public instance made (tests/unit/image/sigstore_public).

That bundle is published in the conformance suite of Sigstore; its trusted root is the public one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zlayer.image.keyless import Signed, verify_keyless
from zlayer.image.keyless_body import check_about
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_json import Json, Unproven
from zlayer.image.trust_material import envelope_of, of_bundle, of_notes
from zlayer.image.trust_proof import Proof, verify
from zlayer.image.trust_root import RootFile, root_of
from zlayer.image.trust_rules import Rule
from zlayer.testing.signing import Signer, message_of, payload
from zlayer.testing.signing import bundle as bundle_by_key
from zlayer.testing.sigstore import Sigstore, Version, Wish, text
from zlayer.testing.sigstore_image import bundle, notes_of

PUBLIC = Path(__file__).parent / "sigstore_public"
WORKFLOW = Identity("https://token.actions.githubusercontent.com", "https://github.com/sigstore-conformance/*")
NAME, DIGEST = "registry.example/team/app", f"sha256:{'1' * 64}"


def public(change: Callable[[Json], object] = lambda _entry: None) -> Signed:
    document, content, signature = envelope_of((PUBLIC / "dsse.sigstore.json").read_bytes())
    material = of_bundle(document)
    assert material is not None
    change(material)
    root = root_of((PUBLIC / "trusted_root.json").read_text())
    return verify_keyless(material, message_of(content), signature, content, root=root, allowed=[WORKFLOW])


def test_a_bundle_of_the_public_instance() -> None:
    found = public()
    assert found.subject.startswith("https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/")
    assert (found.log, found.log_index) == ("https://rekor.sigstore.dev", 1525557801)
    assert found.time == "2026-05-13T19:47:33Z"
    assert public(lambda made: made["entries"][0].pop("inclusionPromise")) == found, "its timestamp is a time too"
    assert public(lambda made: made.update(timestamps=[])) == found


def test_a_bundle_of_rekor_2() -> None:
    """No promise, so a timestamp is what says when; the checkpoint is signed with Ed25519."""
    document, content, signature = envelope_of((PUBLIC / "rekor2.sigstore.json").read_bytes())
    material = of_bundle(document)
    assert material is not None
    root = root_of((PUBLIC / "staging_root.json").read_text())
    message, allowed = message_of(content), [WORKFLOW]
    found = verify_keyless(material, message, signature, content, root=root, allowed=allowed)
    assert (found.log_index, found.time) == (7131, "2025-07-25T19:53:04Z")
    material["timestamps"] = []
    with pytest.raises(Unproven, match="has no signed time"):
        verify_keyless(material, message, signature, content, root=root, allowed=allowed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda made: made["entries"][0].update(integratedTime="1778701654"), "promise of the log"),
        (lambda made: made["entries"][0]["inclusionProof"]["hashes"].pop(), "does not lead to the root"),
        (lambda made: made["entries"][0]["inclusionProof"].update(logIndex="1403653540"), "does not lead to the root"),
        (lambda made: (made["entries"][0].pop("inclusionPromise"), made.update(timestamps=[])), "no signed time"),
    ],
)
def test_the_same_spoilt(change: Callable[[Json], object], why: str) -> None:
    with pytest.raises(Unproven, match=why):
        public(change)


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture
def rule(sigstore: Sigstore) -> Rule:
    root = RootFile("/etc/root.json", sigstore.root(), "sha256:1")
    return Rule("*", "signature", identities=(Identity("https://issuer.example", "*@example.com"),), root=root)


def bundled(body: bytes) -> Proof:
    document, content, signature = envelope_of(body)
    return Proof("bundle", text(content), text(signature), "it", of_bundle(document))


def simple(sigstore: Sigstore, wish: Wish | None = None) -> Proof:
    signer, content = sigstore.signer(wish), payload(DIGEST, NAME)
    signature = signer.sign(content)
    material = of_notes(notes_of(signer, content, signature))
    return Proof("simple-signing", text(content), text(signature), "it", material)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_bundles_of_each_version(sigstore: Sigstore, rule: Rule, version: Version) -> None:
    found = verify(bundled(bundle(sigstore.signer(), DIGEST, version)), rule, NAME, [DIGEST])
    assert found.signed is not None
    assert (found.key, found.signed.subject, found.digest) == (None, "dev@example.com", DIGEST)
    with pytest.raises(Unproven, match="for another image"):
        verify(bundled(bundle(sigstore.signer(), f"sha256:{'2' * 64}", version)), rule, NAME, [DIGEST])


def test_a_bundle_with_a_timestamp_alone(sigstore: Sigstore, rule: Rule) -> None:
    assert verify(bundled(bundle(sigstore.signer(), DIGEST, stamped=True)), rule, NAME, [DIGEST]).signed is not None


def test_the_annotations_of_cosign(sigstore: Sigstore, rule: Rule) -> None:
    found = verify(simple(sigstore), rule, NAME, [DIGEST])
    assert found.signed is not None
    assert found.signed.log_index == 4321
    with pytest.raises(Unproven, match="no identity of the policy"):
        verify(simple(sigstore, Wish(issuer="https://evil.example")), rule, NAME, [DIGEST])
    with pytest.raises(Unproven, match="is for another repository"):
        verify(simple(sigstore), rule, "registry.example/team/other", [DIGEST])


def test_a_key_and_an_identity_are_not_mistaken_for_each_other(sigstore: Sigstore, rule: Rule) -> None:
    with pytest.raises(Unproven, match="was made with a key, and the policy wants an identity"):
        verify(bundled(bundle_by_key(Signer.make(), DIGEST)), rule, NAME, [DIGEST])
    with pytest.raises(Unproven, match="it is keyless, and the policy names no identities"):
        verify(simple(sigstore), Rule("*", "signature"), NAME, [DIGEST])


def test_a_rule_travels_with_its_root(rule: Rule) -> None:
    assert Rule.of_document(json.loads(json.dumps(rule.document()))) == rule


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ({"dev.sigstore.cosign/certificate": 1}, "no proper annotation"),
        ({"dev.sigstore.cosign/certificate": "x" * 70_000}, "no proper annotation"),
        ({"dev.sigstore.cosign/certificate": "junk"}, "not exactly one in PEM"),
        ({"dev.sigstore.cosign/bundle": "{"}, "is not JSON"),
        ({"dev.sigstore.cosign/bundle": "{}"}, "no object 'Payload'"),
        ({"dev.sigstore.cosign/bundle": '{"Payload": {"logID": "zz"}}'}, "no proper log id"),
        ({"dev.sigstore.cosign/bundle": '{"Payload": {"logID": "00"}}'}, "no proper log index"),
        ({"dev.sigstore.cosign/rfc3161timestamp": "{}"}, "is not base64"),
    ],
)
def test_annotations_that_are_none(sigstore: Sigstore, notes: Json, why: str) -> None:
    signer = sigstore.signer()
    good = notes_of(signer, b"x", signer.sign(b"x"))
    assert of_notes({}) is None
    with pytest.raises(Unproven, match=why):
        of_notes({**good, **notes})
    with pytest.raises(Unproven, match="not exactly one"):
        of_notes({**good, "dev.sigstore.cosign/certificate": signer.pem.decode() * 2})


@pytest.mark.parametrize(
    ("material", "why"),
    [
        (None, "no object 'verificationMaterial'"),
        ({"certificate": {}}, "is not base64"),
        ({"x509CertificateChain": {"certificates": []}}, "a chain without certificates"),
        ({"certificate": {"rawBytes": "AA=="}, "tlogEntries": 1}, "no list 'tlogEntries'"),
        ({"certificate": {"rawBytes": "AA=="}, "timestampVerificationData": {"rfc3161Timestamps": 1}}, "timestamps"),
    ],
)
def test_material_that_is_none(material: object, why: str) -> None:
    with pytest.raises(Unproven, match=why):
        of_bundle({"verificationMaterial": material})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"kind": "rpm", "apiVersion": "0.0.1"}, "cannot be verified: rpm 0.0.1"),
        ({"kind": "intoto", "apiVersion": "0.0.1"}, "cannot be verified: intoto 0.0.1"),
        ({"kind": "hashedrekord", "apiVersion": "0.0.1"}, "no object 'spec'"),
        ({"kind": "dsse", "apiVersion": "0.0.1", "spec": {"signatures": []}}, "more than one signature"),
    ],
)
def test_log_entries_of_other_kinds(body: Json, why: str) -> None:
    from zlayer.image.keyless_body import Subject

    with pytest.raises(Unproven, match=why):
        check_about(json.dumps(body).encode(), "", "", Subject(b"", b"", b"", b""))
