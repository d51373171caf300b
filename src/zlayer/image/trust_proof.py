"""Signatures: what was signed, and whether a key or an identity of the policy signed it for this image.

Sources: cosign's SIGNATURE_SPEC.md (simple signing), the DSSE protocol (its pre-authentication encoding), in-toto's
Statement.
A proof is kept as it was found and verified anew each time, so that a changed policy meets the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from zlayer.image.keyless import Signed, verify_keyless
from zlayer.image.keyless_signature import is_signed
from zlayer.image.reference import parse
from zlayer.image.trust_json import Json, Unproven, decoded, member, strict_json
from zlayer.image.trust_material import IN_TOTO
from zlayer.image.trust_root import root_of
from zlayer.image.trust_rules import ANY, Key, Rule, canonical, covers
from zlayer.model.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

COSIGN_TYPE = "cosign container image signature"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature as it was found. `payload` and `signature` are base64; `found` names where, for people.

    `material` is what makes it keyless, as `trust_material` has it.
    """

    kind: Literal["simple-signing", "bundle"]
    payload: str
    signature: str
    found: str
    material: Json | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof that holds: which key of the policy, or else who, signed which digest."""

    kind: str
    digest: str
    key: Key | None
    signed: Signed | None
    found: str


def verify(proof: Proof, rule: Rule, name: str, digests: Collection[str]) -> Verified:
    """Whether a key or identity of the rule signed one of the digests of the repository `name`. Errors: `Unproven`."""
    payload, signature = decoded(proof.payload), decoded(proof.signature)
    message = payload if proof.kind == "simple-signing" else _pae(payload)
    key = next((key for key in rule.keys if is_signed(_loaded(key.pem), signature, message)), None)
    signed = _keyless(proof, rule, message, signature, payload) if key is None else None
    document = strict_json(payload)
    named = _simple(document, rule, name) if proof.kind == "simple-signing" else _statement(document)
    digest = next((one for one in digests if one in named), "")
    if not digest:
        raise Unproven(f"is for another image: {', '.join(sorted(named))[:200] or 'it names none'}")
    return Verified(proof.kind, digest, key, signed, proof.found)


def _keyless(proof: Proof, rule: Rule, message: bytes, signature: bytes, payload: bytes) -> Signed:
    if rule.root is None:
        raise Unproven(
            "is not by a key of the policy, or is broken" if proof.material is None
            else "is not by a key of the policy: it is keyless, and the policy names no identities"
        )  # fmt: skip
    if proof.material is None:
        raise Unproven(
            "is not by a key of the policy, or is broken" if rule.keys
            else "was made with a key, and the policy wants an identity"
        )  # fmt: skip
    envelope = None if proof.kind == "simple-signing" else payload
    root, allowed = root_of(rule.root.text), rule.identities
    return verify_keyless(proof.material, message, signature, envelope, root=root, allowed=allowed)


def _simple(document: Json, rule: Rule, name: str) -> set[str]:
    critical = member(document, "critical")
    if critical.get("type") != COSIGN_TYPE or set(critical) != {"identity", "image", "type"}:
        raise Unproven(f"is not a {COSIGN_TYPE}")
    identity = member(critical, "identity").get("docker-reference")
    others = rule.signed_as
    if ANY not in others:
        try:
            signed = parse(identity if isinstance(identity, str) else "").name
        except Invalid:
            raise Unproven("names no repository") from None
        if not any(covers(pattern, canonical(signed)) for pattern in (canonical(name), *others)):
            raise Unproven(f"is for another repository: {signed}")
    digest = member(critical, "image").get("docker-manifest-digest")
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


def _pae(payload: bytes) -> bytes:
    kind = IN_TOTO.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@lru_cache(maxsize=64)
def _loaded(pem: str) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(pem.encode())
