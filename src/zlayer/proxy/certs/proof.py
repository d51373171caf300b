"""The certificate that proves a name by tls-alpn-01: signed by itself, good for nothing else (RFC 8737, section 3)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from zlayer.model.certificate import Pair
from zlayer.proxy.certs import pem

IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
LIFE = timedelta(days=7)
"""As long as CAs keep an order."""
_OCTETS = b"\x04\x20"
"""DER: an octet string of 32 bytes."""


def proof(name: str, answer: str) -> Pair:
    """`answer` is the key authorisation (RFC 8555, 8.1), whose SHA-256 stands in the critical acmeIdentifier."""
    key = ec.generate_private_key(ec.SECP256R1())
    digest = _OCTETS + hashlib.sha256(answer.encode()).digest()
    now = datetime.now(UTC)
    subject = pem.subject(name)
    made = (
        x509.CertificateBuilder(
            issuer_name=subject,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(seconds=pem.SKEW),
            not_valid_after=now + LIFE,
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(made.public_bytes(serialization.Encoding.PEM).decode(), pem.key_text(key))
