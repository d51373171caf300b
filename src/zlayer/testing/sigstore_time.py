"""What a timestamp authority answers (RFC 3161): a token over the digest of a signature."""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from zlayer.testing.sigstore_der import node, number, octets, oid, sequence, set_of

_SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), node(5))
_TST_INFO = oid("1.2.840.113549.1.9.16.1.4")


def token(
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    signature: bytes,
    made: datetime,
    *,
    content: bytes = b"",
    status: bytes = b"\0",
) -> bytes:
    """A TimeStampResp. `content` replaces the TSTInfo after that was signed; a `status` other than 0 is a refusal."""
    imprint = sequence(_SHA256, octets(hashlib.sha256(signature).digest()))
    stamp = node(0x18, made.strftime("%Y%m%d%H%M%SZ").encode())
    info = sequence(number(1), oid("1.3.6.1.4.1.57264.2"), imprint, number(99), stamp)
    meant = sequence(sequence(sequence(octets(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()))))
    attributes = b"".join(sorted((
        sequence(oid("1.2.840.113549.1.9.3"), set_of(_TST_INFO)),
        sequence(oid("1.2.840.113549.1.9.4"), set_of(octets(hashlib.sha256(info).digest()))),
        sequence(oid("1.2.840.113549.1.9.16.2.47"), set_of(meant)),
    )))  # fmt: skip
    named = sequence(certificate.issuer.public_bytes(), number(certificate.serial_number))
    signed = key.sign(node(0x31, attributes), ec.ECDSA(SHA256()))
    by = sequence(oid("1.2.840.10045.4.3.2"))
    signer = sequence(number(1), named, _SHA256, node(0xA0, attributes), by, octets(signed))
    held = sequence(_TST_INFO, node(0xA0, octets(content or info)))
    data = sequence(number(3), set_of(_SHA256), held, set_of(signer))
    return sequence(sequence(node(2, status)), sequence(oid("1.2.840.113549.1.7.2"), node(0xA0, data)))
