"""Images signed without a key, in the two shapes registries have: cosign's annotations, and Sigstore bundles."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from zlayer.testing.imagery import OciImage
from zlayer.testing.signing import encoded, enveloped, message_of, payload, signatures, statement
from zlayer.testing.sigstore import MADE, Json, Keyless, Version, spki, text

MEDIA = {
    "0.1": "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "0.2": "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "0.3": "application/vnd.dev.sigstore.bundle.v0.3+json",
}


def signed(signer: Keyless, digest: str, repository: str, *, made: datetime = MADE, stamped: bool = False) -> OciImage:
    """What `cosign sign` puts below the image's tag; `stamped`: with a timestamp besides."""
    content = payload(digest, repository)
    signature = signer.sign(content)
    notes = notes_of(signer, content, signature, made)
    if stamped:
        stamp = text(signer.sigstore.stamp(signature, made))
        notes["dev.sigstore.cosign/rfc3161timestamp"] = json.dumps({"SignedRFC3161Timestamp": stamp})
    return signatures([(content, signature)], notes)


def notes_of(signer: Keyless, content: bytes, signature: bytes, made: datetime = MADE) -> Json:
    """The certificate, its chain and Rekor's promise, as cosign writes them beside a signature."""
    from cryptography.hazmat.primitives.serialization import Encoding

    sigstore, body = signer.sigstore, signer.record(content, signature)
    log_id = hashlib.sha256(spki(sigstore.rekor)).hexdigest()
    entry = {"body": text(body), "integratedTime": int(made.timestamp()), "logIndex": 4321, "logID": log_id}
    promise = {"SignedEntryTimestamp": text(sigstore.promise(body, made, 4321)), "Payload": entry}
    return {
        "dev.sigstore.cosign/certificate": signer.pem.decode(),
        "dev.sigstore.cosign/chain": "".join(one.public_bytes(Encoding.PEM).decode() for one in sigstore.ca.chain),
        "dev.sigstore.cosign/bundle": json.dumps(promise),
    }


def bundle(signer: Keyless, digest: str, version: Version = "0.3", *, stamped: bool = False) -> bytes:
    """A bundle of each version; `stamped`: with a timestamp, and without Rekor's promise."""
    content = statement(digest)
    signature = signer.sign(message_of(content))
    entry = signer.entry(signer.envelope_record(content, signature), set_=not stamped, proof=version != "0.1")
    held = {"rawBytes": text(signer.der)}
    material: Json = {"tlogEntries": [entry]}
    if version == "0.3":
        material["certificate"] = held
    else:
        material["x509CertificateChain"] = {"certificates": [held]}
    if stamped:
        stamps = [{"signedTimestamp": text(signer.sigstore.stamp(signature))}]
        material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    envelope = enveloped(content, signature)
    return encoded({"mediaType": MEDIA[version], "verificationMaterial": material, "dsseEnvelope": envelope})
