"""Signatures: what was signed, and whether a key of the policy signed it for this image.

Sources: cosign's SIGNATURE_SPEC.md (simple signing), the DSSE protocol (its pre-authentication encoding), in-toto's
Statement.
A proof is kept as it was found and verified anew each time, so that a changed policy meets the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from zlayer.image.reference import parse
from zlayer.image.trust_rules import ANY, Key, Rule, canonical, covers
from zlayer.model.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

COSIGN_TYPE = "cosign container image signature"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
IN_TOTO = "application/vnd.in-toto+json"
STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
Json = dict[str, Any]  # Any: a JSON document


class Unproven(Exception):
    """Why a signature does not count, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature as it was found. `payload` and `signature` are base64; `found` names where, for people."""

    kind: Literal["simple-signing", "bundle"]
    payload: str
    signature: str
    found: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof that holds: which key signed which digest."""

    kind: str
    digest: str
    key: Key
    found: str


def verify(proof: Proof, rule: Rule, name: str, digests: Collection[str]) -> Verified:
    """Whether a key of the rule signed one of the digests of the repository `name`. Errors: `Unproven`."""
    payload, signature = decoded(proof.payload), decoded(proof.signature)
    message = payload if proof.kind == "simple-signing" else _pae(payload)
    key = next((key for key in rule.keys if _signed_by(key.pem, signature, message)), None)
    if key is None:
        raise Unproven("is not by a key of the policy, or is broken")
    document = strict_json(payload)
    signed = _simple(document, rule, name) if proof.kind == "simple-signing" else _statement(document)
    digest = next((one for one in digests if one in signed), "")
    if not digest:
        raise Unproven(f"is for another image: {', '.join(sorted(signed))[:200] or 'it names none'}")
    return Verified(proof.kind, digest, key, proof.found)


def strict_json(body: bytes) -> Json:
    """A JSON object without a key twice: readers differ in which of the two they take. Errors: `Unproven`."""

    def once(pairs: list[tuple[str, Any]]) -> Json:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key twice")
        return made

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise Unproven("has a key twice" if str(fault) == "a key twice" else "is not JSON") from None
    if not isinstance(document, dict):
        raise Unproven("is not a JSON object")
    return document


def decoded(text: Any) -> bytes:  # Any: JSON
    """Base64, nothing but. Errors: `Unproven`."""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Unproven("is not base64") from None


def _simple(document: Json, rule: Rule, name: str) -> set[str]:
    critical = _object(document, "critical")
    if critical.get("type") != COSIGN_TYPE or set(critical) != {"identity", "image", "type"}:
        raise Unproven(f"is not a {COSIGN_TYPE}")
    identity = _object(critical, "identity").get("docker-reference")
    others = rule.signed_as
    if ANY not in others:
        try:
            signed = parse(identity if isinstance(identity, str) else "").name
        except Invalid:
            raise Unproven("names no repository") from None
        if not any(covers(pattern, canonical(signed)) for pattern in (canonical(name), *others)):
            raise Unproven(f"is for another repository: {signed}")
    digest = _object(critical, "image").get("docker-manifest-digest")
    return {digest} if isinstance(digest, str) else set()


def _statement(document: Json) -> set[str]:
    if document.get("_type") not in STATEMENTS:
        raise Unproven("is not an in-toto statement")
    if (kind := document.get("predicateType")) != SIGN_PREDICATE:
        raise Unproven(f"is an attestation ({str(kind)[:100]}), not a signature")
    subjects = document.get("subject")
    found = set()
    for subject in subjects if isinstance(subjects, list) else ():
        if isinstance(subject, dict) and isinstance(subject.get("digest"), dict):
            found |= {f"{algorithm}:{digits}" for algorithm, digits in subject["digest"].items()}
    return found


def _object(document: Mapping[str, Any], key: str) -> Json:
    value = document.get(key)
    if not isinstance(value, dict):
        raise Unproven(f"has no object {key!r}")
    return value


def _pae(payload: bytes) -> bytes:
    kind = IN_TOTO.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signed_by(pem: str, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    key = _loaded(pem)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            return False
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _loaded(pem: str) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(pem.encode())
