"""Signed images as cosign makes them, without cosign: keys, simple-signing manifests, Sigstore bundles.

Sources: cosign's SIGNATURE_SPEC.md and BUNDLE_SPEC.md. Push what is made here with `imagery_push.push`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from zlayer.testing.imagery import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Blob, Layer, OciImage, OciIndex, blob

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
Kind = Literal["ecdsa", "ed25519", "rsa"]
Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key for one test."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

    @classmethod
    def make(cls, kind: Kind = "ecdsa") -> Signer:
        match kind:
            case "ecdsa":
                return cls(ec.generate_private_key(ec.SECP256R1()))
            case "ed25519":
                return cls(ed25519.Ed25519PrivateKey.generate())
            case "rsa":
                return cls(rsa.generate_private_key(65537, 2048))

    @property
    def pem(self) -> bytes:
        """The public half, as cosign.pub."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form)

    @property
    def fingerprint(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        der = self.key.public_key().public_bytes(serialization.Encoding.DER, form)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def sign(self, message: bytes) -> bytes:
        match self.key:
            case ec.EllipticCurvePrivateKey():
                return self.key.sign(message, ec.ECDSA(SHA256()))
            case ed25519.Ed25519PrivateKey():
                return self.key.sign(message)
            case _:
                return self.key.sign(message, padding.PKCS1v15(), SHA256())


def encoded(document: Any) -> bytes:  # Any: JSON
    return json.dumps(document, separators=(",", ":")).encode()


def payload(digest: str, repository: str, kind: str = "cosign container image signature") -> bytes:
    """What cosign signs. `repository` with its registry."""
    identity, image = {"docker-reference": repository}, {"docker-manifest-digest": digest}
    return encoded({"critical": {"identity": identity, "image": image, "type": kind}, "optional": None})


def signature_tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def signatures(pairs: Sequence[tuple[bytes, bytes]], more: Json | None = None) -> OciImage:
    """The image below `signature_tag`: payloads and their signatures; `more` annotations for each."""
    layers = [blob(content, SIMPLE) for content, _ in pairs]
    config = blob(
        encoded({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [
            one.digest for one in layers]}}), OCI_CONFIG,
    )  # fmt: skip
    notes = [
        {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode(), **(more or {})}
        for _, signature in pairs
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor,
        "layers": [{**one.descriptor, "annotations": note} for one, note in zip(layers, notes, strict=True)],
    }
    unique = {one.digest: Layer(one, one.digest) for one in layers}
    return OciImage(tuple(unique.values()), config, blob(encoded(manifest), OCI_MANIFEST), "")


def signed(signer: Signer, digest: str, repository: str) -> OciImage:
    """One good signature."""
    content = payload(digest, repository)
    return signatures([(content, signer.sign(content))])


def bundle(signer: Signer, digest: str, predicate: str = SIGN) -> bytes:
    """A Sigstore bundle: a signed in-toto statement about the digest."""
    content = statement(digest, predicate)
    material = {"publicKey": {"hint": signer.fingerprint}}
    envelope = enveloped(content, signer.sign(message_of(content)))
    return encoded({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def statement(digest: str, predicate: str = SIGN) -> bytes:
    """What a bundle's signature is about."""
    algorithm, _, digits = digest.partition(":")
    return encoded({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
        "subject": [{"digest": {algorithm: digits}, "annotations": {}}],
    })  # fmt: skip


def message_of(content: bytes) -> bytes:
    """What is signed of a statement: DSSE's pre-authentication encoding."""
    return b" ".join((b"DSSEv1", str(len(IN_TOTO)).encode(), IN_TOTO.encode(), str(len(content)).encode(), content))


def enveloped(content: bytes, signature: bytes) -> Json:
    """The DSSE envelope."""
    return {
        "payload": base64.b64encode(content).decode(),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }


def referrer(content: bytes, subject: Json) -> OciImage:
    """The artifact that attaches a bundle to the descriptor `subject`."""
    held, empty = blob(content, BUNDLE), blob(b"{}", "application/vnd.oci.empty.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": empty.descriptor,
        "layers": [held.descriptor],
        "subject": subject,
    }
    return OciImage((Layer(held, held.digest),), empty, blob(encoded(manifest), OCI_MANIFEST), "")


def referrers(artifacts: Sequence[OciImage]) -> OciIndex:
    """What a registry answers to the referrers API, or holds under the tag that stands in for it."""
    entries = [{**one.manifest.descriptor, "artifactType": BUNDLE} for one in artifacts]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return OciIndex(tuple(artifacts), blob(encoded(document), OCI_INDEX))


def referrers_path(repository: str, digest: str) -> str:
    return f"/v2/{repository}/referrers/{digest}"


def held_index(artifacts: Sequence[OciImage]) -> Blob:
    """The body alone."""
    return referrers(artifacts).manifest
