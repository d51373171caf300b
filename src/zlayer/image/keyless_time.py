"""RFC 3161 timestamps: when a signature was there, by an authority of the trusted root.

Sources: RFC 3161 (TimeStampResp, TSTInfo), RFC 5652 (SignedData), RFC 5035 and 5816 (which certificate was meant).
Certificates that come along are not looked at: the trusted root has them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zlayer.image.keyless_cert import TIME_STAMPING, check_authority, check_use
from zlayer.image.keyless_der import GENERALIZED, OCTETS, SEQUENCE, SET, Node, read
from zlayer.image.keyless_signature import is_signed
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import Authority, Root

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm
    from cryptography.x509 import Certificate

MAX_TOKEN = 16 * 1024
SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
CERTIFICATE_V1, CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
HASHES = {"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
_EXPLICIT = 0xA0


def time_of(token: bytes, signature: bytes, root: Root) -> datetime:
    """When `signature` was there. Errors: `Unproven`."""
    if not root.timestampers:
        raise Unproven("has a timestamp, but the trusted root names no timestamp authority")
    try:
        content, attributes, signer = _opened(token)
        made = _stamped(content, signature)
        return _believed(made, content, attributes, signer, root)
    except (ValueError, IndexError, UnicodeDecodeError) as fault:
        raise Unproven(f"has a timestamp that cannot be read: {fault}") from None


def _opened(token: bytes) -> tuple[bytes, Node, list[Node]]:
    """The TSTInfo, the attributes that are signed, and the parts of the only SignerInfo."""
    if len(token) > MAX_TOKEN:
        raise ValueError(f"more than {MAX_TOKEN} bytes")
    status, content = read(token).wants(SEQUENCE).parts()
    if status.parts()[0].number() not in (0, 1):
        raise Unproven("has a timestamp that its authority refused to give")
    kind, explicit = content.wants(SEQUENCE).parts()
    if kind.oid() != SIGNED_DATA:
        raise ValueError("it is not signed")
    (inner,) = explicit.wants(_EXPLICIT).parts()
    _version, _algorithms, held, *_others, signers = inner.wants(SEQUENCE).parts()
    inside, wrapped = held.wants(SEQUENCE).parts()
    if inside.oid() != TST_INFO:
        raise ValueError("it is about something else")
    (octets,) = wrapped.wants(_EXPLICIT).parts()
    (signer,) = signers.wants(SET).parts()
    parts = signer.wants(SEQUENCE).parts()
    return octets.wants(OCTETS).body, parts[3].wants(_EXPLICIT), parts


def _stamped(content: bytes, signature: bytes) -> datetime:
    parts = read(content).wants(SEQUENCE).parts()
    algorithm, digest = parts[2].wants(SEQUENCE).parts()
    if digest.wants(OCTETS).body != hashlib.new(_hash(algorithm), signature).digest():
        raise Unproven("has a timestamp for another signature")
    text = parts[4].wants(GENERALIZED).body.decode("ascii")
    form = "%Y%m%d%H%M%S.%fZ" if "." in text else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _believed(made: datetime, content: bytes, attributes: Node, signer: list[Node], root: Root) -> datetime:
    values = {}
    for attribute in attributes.parts():
        name, value = attribute.wants(SEQUENCE).parts()
        if name.oid() in values:
            raise ValueError("an attribute twice")
        (values[name.oid()],) = value.wants(SET).parts()
    if CONTENT_TYPE not in values or values[CONTENT_TYPE].oid() != TST_INFO:
        raise ValueError("it does not say what was signed")
    hashed = _hash(signer[2])
    if MESSAGE_DIGEST not in values or values[MESSAGE_DIGEST].body != hashlib.new(hashed, content).digest():
        raise Unproven("has a timestamp whose content was changed")
    message = bytes((SET,)) + attributes.whole[1:]  # RFC 5652 5.4: signed as a SET, whatever tag it travels with
    told = "has a timestamp by no authority of the trusted root"
    for authority in root.timestampers:
        certificate = authority.chain[0]
        if not _meant(certificate, values):
            continue
        if not is_signed(certificate.public_key(), signer[5].wants(OCTETS).body, message, _algorithm(hashed)):
            told = "has a timestamp whose signature is broken"
            continue
        told = _fault(authority, made)
        if not told:
            return made
    raise Unproven(told)


def _fault(authority: Authority, made: datetime) -> str:
    try:
        check_use(authority.chain[0], TIME_STAMPING)
    except Unproven as why:
        return f"has a timestamp whose authority {why}"
    told = check_authority(authority, made, TIME_STAMPING)
    return f"has a timestamp that {told}" if told else ""


def _meant(certificate: Certificate, values: dict[str, Node]) -> bool:
    """Whether the signed attributes name this certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    der = certificate.public_bytes(Encoding.DER)
    if (held := values.get(CERTIFICATE_V2)) is not None:
        first = held.parts()[0].parts()[0].wants(SEQUENCE).parts()
        name = _hash(first[0]) if first[0].tag == SEQUENCE else "sha256"
        digest = first[1] if first[0].tag == SEQUENCE else first[0]
        return digest.wants(OCTETS).body == hashlib.new(name, der).digest()
    if (held := values.get(CERTIFICATE_V1)) is not None:
        first = held.parts()[0].parts()[0].wants(SEQUENCE).parts()
        return first[0].wants(OCTETS).body == hashlib.sha1(der, usedforsecurity=False).digest()
    raise ValueError("it does not say whose it is")


def _hash(algorithm: Node) -> str:
    oid = algorithm.wants(SEQUENCE).parts()[0].oid()
    if oid not in HASHES:
        raise ValueError(f"hash {oid} is none of {', '.join(HASHES.values())}")
    return HASHES[oid]


def _algorithm(name: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    made: dict[str, HashAlgorithm] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}
    return made[name]
