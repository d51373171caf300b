"""What stands beside a signature, brought into one form: certificate, log entries, timestamps.

Sources: cosign's SIGNATURE_SPEC.md (annotations), sigstore/protobuf-specs `sigstore_bundle.proto` versions 0.1 to 0.3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from zlayer.image.trust_json import Json, Unproven, decoded, listed, member, number, strict_json

BUNDLES = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
)
IN_TOTO = "application/vnd.in-toto+json"
CERTIFICATE, LOGGED = "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"
STAMPED = "dev.sigstore.cosign/rfc3161timestamp"
MAX_NOTE = 64 * 1024
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


def of_notes(notes: Mapping[str, Any]) -> Json | None:  # Any: JSON
    """From the annotations of a simple-signing layer; None: it was signed with a key. Errors: `Unproven`.

    The chain that comes along is not looked at: the trusted root has it.
    """
    if CERTIFICATE not in notes:
        return None
    found = _PEM.fullmatch(_text(notes, CERTIFICATE))
    if found is None:
        raise Unproven("has a certificate that is not exactly one in PEM")
    made: Json = {"certificate": "".join(found[1].split()), "entries": [], "timestamps": [], "proof_wanted": False}
    if LOGGED in notes:
        made["entries"].append(_logged(strict_json(_text(notes, LOGGED).encode())))
    if STAMPED in notes:
        stamp = strict_json(_text(notes, STAMPED).encode())
        made["timestamps"].append(base64.b64encode(decoded(stamp.get("SignedRFC3161Timestamp"))).decode())
    return made


def of_bundle(document: Json) -> Json | None:
    """From a bundle; None: it was signed with a key. Errors: `Unproven`."""
    material = member(document, "verificationMaterial")
    if "certificate" in material:
        held = member(material, "certificate")
    elif "x509CertificateChain" in material:
        chain = listed(member(material, "x509CertificateChain"), "certificates")
        if not chain:
            raise Unproven("has a chain without certificates")
        held = chain[0]
    else:
        return None
    stamps = material.get("timestampVerificationData") or {}
    stamps = stamps.get("rfc3161Timestamps") or [] if isinstance(stamps, dict) else []
    if not isinstance(stamps, list) or not all(isinstance(one, dict) for one in stamps):
        raise Unproven("has timestamps that are none")
    return {
        "certificate": base64.b64encode(decoded(held.get("rawBytes"))).decode(),
        "entries": listed(material, "tlogEntries") if "tlogEntries" in material else [],
        "timestamps": [one.get("signedTimestamp") for one in stamps],
        "proof_wanted": document.get("mediaType") != BUNDLES[-1],
    }


def envelope_of(body: bytes) -> tuple[Json, bytes, bytes]:
    """A bundle, and the payload and the signature of its envelope. Errors: `Unproven`."""
    document = strict_json(body)
    if document.get("mediaType") not in BUNDLES:
        raise Unproven(f"is not a {BUNDLES[0]} or an older one")
    envelope = document.get("dsseEnvelope")
    if not isinstance(envelope, dict):
        raise Unproven("has no DSSE envelope")
    if envelope.get("payloadType") != IN_TOTO:
        raise Unproven(f"is not about {IN_TOTO}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise Unproven("has not exactly one signature")
    return document, decoded(envelope.get("payload")), decoded(signatures[0].get("sig"))


def _logged(document: Json) -> Json:
    """cosign's own form of a log entry, in a bundle's."""
    payload = member(document, "Payload")
    try:
        log_id = bytes.fromhex(str(payload.get("logID")))
    except ValueError:
        raise Unproven("has no proper log id") from None
    return {
        "logIndex": number(payload.get("logIndex"), "log index"),
        "logId": {"keyId": base64.b64encode(log_id).decode()},
        "integratedTime": number(payload.get("integratedTime"), "time of the log"),
        "inclusionPromise": {"signedEntryTimestamp": document.get("SignedEntryTimestamp")},
        "canonicalizedBody": payload.get("body"),
    }


def _text(notes: Mapping[str, Any], key: str) -> str:  # Any: JSON
    value = notes[key]
    if not isinstance(value, str) or len(value) > MAX_NOTE:
        raise Unproven(f"has no proper annotation {key}")
    return value
