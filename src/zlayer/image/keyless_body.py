"""What a log entry says: that it is about this very signature, by this certificate, over this artifact.

Sources: Rekor's types hashedrekord 0.0.1 and 0.0.2, dsse 0.0.1 and 0.0.2, intoto 0.0.2. Other types bind no
signature, or are not used for images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from zlayer.image.trust_json import Json, Unproven, decoded, listed, member, strict_json


@dataclass(frozen=True, slots=True)
class Subject:
    """What the entry must be about. `message`: the bytes that were signed; `payload`: of a DSSE envelope, else None."""

    certificate: bytes
    signature: bytes
    message: bytes
    payload: bytes | None


def check_about(body: bytes, kind: str, version: str, subject: Subject) -> None:
    """`kind` and `version` as the bundle names them; empty: it names none. Errors: `Unproven`."""
    document = strict_json(body)
    found = (document.get("kind"), document.get("apiVersion"))
    if kind and found != (kind, version):
        raise Unproven("has a log entry of another kind than it says")
    read = _READERS.get(f"{found[0]} {found[1]}")
    if read is None:
        raise Unproven(f"has a log entry of a kind that cannot be verified: {str(found[0])[:40]} {str(found[1])[:20]}")
    for what, here, there in read(member(document, "spec"), subject):
        if here != there:
            raise Unproven(f"has a log entry about another {what}")


Pairs = list[tuple[str, bytes, bytes]]


def _hashed_1(spec: Json, subject: Subject) -> Pairs:
    digest, signature = member(member(spec, "data"), "hash"), member(spec, "signature")
    return [
        ("artifact", _hex(digest), hashlib.sha256(subject.message).digest()),
        ("signature", decoded(signature.get("content")), subject.signature),
        ("certificate", _der(member(signature, "publicKey").get("content")), subject.certificate),
    ]


def _hashed_2(spec: Json, subject: Subject) -> Pairs:
    record = member(spec, "hashedRekordV002")
    signature = member(record, "signature")
    return [
        ("artifact", _digest(member(record, "data")), hashlib.sha256(subject.message).digest()),
        ("signature", decoded(signature.get("content")), subject.signature),
        ("certificate", _raw(signature), subject.certificate),
    ]


def _dsse_1(spec: Json, subject: Subject) -> Pairs:
    signature = _only(listed(spec, "signatures"))
    return [
        ("artifact", _hex(member(spec, "payloadHash")), _payload(subject)),
        ("signature", decoded(signature.get("signature")), subject.signature),
        ("certificate", _der(signature.get("verifier")), subject.certificate),
    ]


def _dsse_2(spec: Json, subject: Subject) -> Pairs:
    record = member(spec, "dsseV002")
    signature = _only(listed(record, "signatures"))
    return [
        ("artifact", _digest(member(record, "payloadHash")), _payload(subject)),
        ("signature", decoded(signature.get("content")), subject.signature),
        ("certificate", _raw(signature), subject.certificate),
    ]


def _intoto_2(spec: Json, subject: Subject) -> Pairs:
    content = member(spec, "content")
    signature = _only(listed(member(content, "envelope"), "signatures"))
    return [
        ("artifact", _hex(member(content, "payloadHash")), _payload(subject)),
        ("signature", decoded(decoded(signature.get("sig"))), subject.signature),
        ("certificate", _der(signature.get("publicKey")), subject.certificate),
    ]


_READERS: dict[str, Callable[[Json, Subject], Pairs]] = {
    "hashedrekord 0.0.1": _hashed_1,
    "hashedrekord 0.0.2": _hashed_2,
    "dsse 0.0.1": _dsse_1,
    "dsse 0.0.2": _dsse_2,
    "intoto 0.0.2": _intoto_2,
}


def _payload(subject: Subject) -> bytes:
    if subject.payload is None:
        raise Unproven("has a log entry of an envelope, and is none")
    return hashlib.sha256(subject.payload).digest()


def _only(signatures: list[Json]) -> Json:
    if len(signatures) != 1:
        raise Unproven("has a log entry with more than one signature")
    return signatures[0]


def _hex(digest: Json) -> bytes:
    if digest.get("algorithm") != "sha256":
        raise Unproven("has a log entry with another hash than sha256")
    try:
        return bytes.fromhex(str(digest.get("value")))
    except ValueError:
        raise Unproven("has a log entry whose digest is none") from None


def _digest(digest: Json) -> bytes:
    if digest.get("algorithm") != "SHA2_256":
        raise Unproven("has a log entry with another hash than SHA2_256")
    return decoded(digest.get("digest"))


def _der(text: object) -> bytes:
    """The certificate in base64 of PEM; a bare key is none."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(decoded(text)).public_bytes(Encoding.DER)
    except ValueError:
        raise Unproven("has a log entry without a certificate") from None


def _raw(signature: Json) -> bytes:
    return decoded(member(member(signature, "verifier"), "x509Certificate").get("rawBytes"))
