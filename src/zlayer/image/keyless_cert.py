"""A signing certificate: its chain at the time of signing, what it is for, its proof of publication, whom it names.

Sources: RFC 5280 (chains), RFC 6962 3.2 and 3.3 (embedded SCTs), Fulcio's "Certificate Specification" and OID list.
`ValueError` and its like pass: `keyless` turns them into a reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from zlayer.image.keyless_der import UTF8, read
from zlayer.image.keyless_signature import is_signed
from zlayer.image.trust_identity import is_name
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import Authority, Root, is_strong

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

T = TypeVar("T")
ISSUER_V1, ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"
CODE_SIGNING, TIME_STAMPING = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8"
_UNDERSTOOD = {"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"}
"""Critical extensions that are looked at: key usage, alternative names, basic constraints, extended key usage."""


def load(der: bytes) -> Certificate:
    """Errors: `Unproven` for a key that is not worth anything."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import load_der_x509_certificate

    certificate = load_der_x509_certificate(der)
    key = certificate.public_key()
    if not is_strong(key) or (isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1)):
        raise Unproven(
            "has a certificate whose key is weak or of another sort: ECDSA P-256, Ed25519 or RSA from 2048 bits"
        )
    return certificate


def issuer_of(certificate: Certificate, root: Root, times: Sequence[datetime]) -> Certificate:
    """The CA that issued it, of an authority that is believed at each of the times. Errors: `Unproven`."""
    told = ""
    for authority in root.authorities:
        if not _follows(certificate, authority.chain[0]):
            continue
        told = next(filter(None, (_fault(certificate, authority, time, CODE_SIGNING) for time in times)), "")
        if not told:
            return authority.chain[0]
    raise Unproven(told or "has a certificate by no authority of the trusted root")


def check_use(certificate: Certificate, use: str) -> None:
    """That it is for `use` (an OID), for signing, and is no authority. Errors: `Unproven`."""
    from cryptography import x509

    extensions = certificate.extensions
    for extension in extensions:
        if extension.critical and extension.oid.dotted_string not in _UNDERSTOOD:
            raise Unproven(f"has a certificate with a critical extension nobody knows: {extension.oid.dotted_string}")
    uses = _extension(certificate, x509.ExtendedKeyUsage)
    if uses is None or use not in {one.dotted_string for one in uses}:
        name = "code signing" if use == CODE_SIGNING else "timestamps"
        raise Unproven(f"has a certificate that is not for {name} (extended key usage)")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise Unproven("has a certificate whose key is not for signatures (key usage)")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise Unproven("is by the certificate of an authority, which signs no images")


def check_published(certificate: Certificate, issuer: Certificate, root: Root) -> None:
    """That a CT log of the root has promised to publish it. Errors: `Unproven`."""
    from cryptography import x509

    held = _extension(certificate, x509.PrecertificateSignedCertificateTimestamps)
    if held is None:
        raise Unproven("has a certificate without a proof of publication (SCT)")
    body = certificate.tbs_precertificate_bytes
    entry = b"\0\1" + hashlib.sha256(_spki(issuer)).digest() + len(body).to_bytes(3) + body
    for promise in held:
        made = promise.timestamp.replace(tzinfo=UTC)
        log = next((log for log in root.ct_logs if log.key_id == promise.log_id), None)
        if log is None or not log.valid.has(made) or promise.version != x509.certificate_transparency.Version.v1:
            continue
        millis = int(made.timestamp()) * 1000 + made.microsecond // 1000
        more = promise.extension_bytes
        signed = b"\0\0" + millis.to_bytes(8) + entry + len(more).to_bytes(2) + more
        if is_signed(log.key, promise.signature, signed, promise.signature_hash_algorithm):
            return
    raise Unproven(
        "has a certificate whose proof of publication (SCT) is by no log of the trusted root, or for another"
    )


def named(certificate: Certificate) -> tuple[str, str]:
    """Its OIDC issuer and its subject. Errors: `Unproven`."""
    from cryptography import x509

    names = list(_extension(certificate, x509.SubjectAlternativeName) or ())
    if len(names) != 1 or not isinstance(names[0], (x509.RFC822Name, x509.UniformResourceIdentifier)):
        raise Unproven("has a certificate that does not name exactly one e-mail address or URI")
    subject = names[0].value
    if not is_name(subject) or isinstance(names[0], x509.RFC822Name) == ("://" in subject):
        raise Unproven(f"has a certificate for a name that is none: {subject[:100]!r}")
    raw = {one.oid.dotted_string: one.value for one in certificate.extensions}
    found = set()
    if isinstance(old := raw.get(ISSUER_V1), x509.UnrecognizedExtension):
        found.add(old.value.decode())
    if isinstance(new := raw.get(ISSUER_V2), x509.UnrecognizedExtension):
        found.add(read(new.value).wants(UTF8).body.decode())
    if len(found) != 1:
        raise Unproven("has a certificate that names no OIDC issuer, or two")
    return found.pop(), subject


def check_authority(authority: Authority, time: datetime, use: str) -> str:
    """What is wrong with the chain of an authority at a time, or nothing. Its first certificate is what signs."""
    signer = Authority(authority.name, authority.chain[1:], authority.valid)
    return _fault(authority.chain[0], signer, time, use)


def _fault(certificate: Certificate, authority: Authority, time: datetime, use: str) -> str:
    from cryptography import x509

    at, name = time.isoformat(), authority.name or "an authority"
    if not authority.valid.has(time):
        return f"was made at {at}, when {name} was not to be believed by the trusted root"
    if not _lives(certificate, time):
        return f"was made at {at}, when its certificate was not valid ({_life(certificate)})"
    below = certificate
    for depth, above in enumerate(authority.chain):
        if not _follows(below, above):
            return f"has a chain that does not hold at {above.subject.rfc4514_string() or name}"
        if not _lives(above, time):
            return f"was made at {at}, when the authority {name} was not valid ({_life(above)})"
        limits, usage = _extension(above, x509.BasicConstraints), _extension(above, x509.KeyUsage)
        if limits is None or not limits.ca or (limits.path_length is not None and limits.path_length < depth):
            return f"has a chain over a certificate that is no authority: {above.subject.rfc4514_string()}"
        if usage is not None and not usage.key_cert_sign:
            return f"has a chain over a key that signs no certificates: {above.subject.rfc4514_string()}"
        uses = _extension(above, x509.ExtendedKeyUsage)
        if uses is not None and use not in {one.dotted_string for one in uses}:
            return f"has a chain over an authority for other uses: {above.subject.rfc4514_string()}"
        below = above
    return ""


def _follows(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.hashes import MD5, SHA1

    if isinstance(certificate.signature_hash_algorithm, (MD5, SHA1)):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _extension(certificate: Certificate, kind: type[T]) -> T | None:
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)


def _lives(certificate: Certificate, time: datetime) -> bool:
    return certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc


def _life(certificate: Certificate) -> str:
    return f"{certificate.not_valid_before_utc.isoformat()} to {certificate.not_valid_after_utc.isoformat()}"


def _spki(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
