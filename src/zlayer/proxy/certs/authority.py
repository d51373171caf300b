"""The local CA of a node: one file to trust (`ca.pem`), and short-lived leaves signed by it.

The key never leaves `ca.key` (mode 0600). Both files are written whole; the certificate last, so that a crash
between them leaves a key without a certificate, which the next start replaces.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from zlayer.model.certificate import Pair
from zlayer.model.errors import Invalid
from zlayer.model.secret import Secret
from zlayer.proxy.certs import pem
from zlayer.proxy.certs.sealing import keep_private, private_file

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=30)
SKEW = timedelta(minutes=5)
"""Clients whose clocks are behind ours by less than this take a new certificate."""


class LocalAuthority:
    """Thread-safe. Looks at its files each time: a CA that was removed by hand is made anew, with another id."""

    def __init__(self, directory: Path, name: str, *, clock: Callable[[], float] = time.time) -> None:
        self._certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()

    def id(self) -> str:
        """Sixteen hex digits of the CA certificate's sha256."""
        with self._lock:
            certificate, _ = self._ensure()
        return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()[:16]

    def sign(self, names: Sequence[str]) -> Pair:
        """A leaf for these names with a new key; the chain is the leaf and the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Pair(self.certify(names, key.public_key()), pem.key_text(key))

    def certify(self, names: Sequence[str], key: ec.EllipticCurvePublicKey) -> str:
        """The chain for a key whose private half is elsewhere."""
        with self._lock:
            authority, signer = self._ensure()
        now = self._now()
        made = (
            _builder(pem.subject(names[0] if names else ""), authority.subject, key, now - SKEW, now + LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(pem.general_names(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return _text(made) + _text(authority)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _ensure(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        found = self._load()
        if found is not None and found[0].not_valid_after_utc > self._now() + 2 * LEAF_LIFE:
            return found
        return self._make()

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
        """None where one is missing or they do not belong together, as after a crash between the two."""
        try:
            keep_private(self._key)
            certificate = pem.load_chain(self._certificate.read_text("ascii"))[0]
            key = pem.load_key(Secret(self._key.read_text("ascii")))
        except (FileNotFoundError, UnicodeDecodeError, Invalid):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            return None
        return certificate, key

    def _make(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = pem.subject(f"ZLayer local CA {self._name}"[:64])
        now = self._now()
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            _builder(name, name, key.public_key(), now - SKEW, now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        self._key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_file(self._key, pem.key_text(key).reveal().encode())
        private_file(self._certificate, _text(made).encode(), mode=0o644)
        return made, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=end,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
