"""Certificates and keys as PEM: made, read, and held against each other (X.509, RFC 5280)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from zlayer.model.certificate import Facts, Pair
from zlayer.model.errors import Invalid
from zlayer.model.secret import Secret
from zlayer.model.units import Timestamp

SKEW = 300.0
"""Seconds our clock may be behind that of a CA which dates nothing back."""


def new_key() -> Secret:
    """A P-256 key, PKCS #8."""
    return key_text(ec.generate_private_key(ec.SECP256R1()))


def key_text(key: PrivateKeyTypes) -> Secret:
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Secret(raw.decode())


def load_key(text: Secret) -> PrivateKeyTypes:
    """`Invalid` where it is no private key, or one with a password."""
    try:
        return serialization.load_pem_private_key(text.reveal().encode(), password=None)
    except TypeError:
        raise Invalid(
            "the private key has a password", hint="write it without one: openssl pkey -in OLD -out NEW"
        ) from None
    except (ValueError, UnsupportedAlgorithm):  # their words may quote what they read
        raise Invalid("no private key in PEM form", hint="it begins with -----BEGIN PRIVATE KEY-----") from None


def load_chain(text: str) -> list[x509.Certificate]:
    """The certificates, at least one."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise Invalid("no certificate in PEM form", hint="it begins with -----BEGIN CERTIFICATE-----") from None


def general_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """Addresses as addresses, all else as DNS names."""
    try:
        return x509.SubjectAlternativeName([_general_name(name) for name in names])
    except ValueError as error:
        raise Invalid(f"not the name of a host: {error}", hint="names are ASCII; IDNs are written xn--…") from None


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def subject(name: str) -> x509.Name:
    """A common name of at most 64 characters, none where it is longer (X.520)."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if 0 < len(name) <= 64 else [])


def request(names: Sequence[str], key: Secret) -> bytes:
    """A signing request for these names, DER. No subject: CAs take names from the extension only."""
    private = load_key(key)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    made = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(general_names(names), critical=True)
    return made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def facts(chain: str) -> Facts:
    """What the leaf says. `Invalid` where there is none or it has no names."""
    return _facts(load_chain(chain)[0])


def _facts(leaf: x509.Certificate) -> Facts:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise Invalid(
            "the certificate has no subject alternative names", hint="browsers refuse it: make another"
        ) from None
    addresses = [str(one) for one in extension.get_values_for_type(x509.IPAddress)]
    return Facts(
        names=(*extension.get_values_for_type(x509.DNSName), *addresses),
        issuer=leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        not_before=Timestamp(leaf.not_valid_before_utc.timestamp()),
        not_after=Timestamp(leaf.not_valid_after_utc.timestamp()),
    )


def covers(given: Sequence[str], wanted: str) -> bool:
    """Whether a certificate with these names is good for a host; a wildcard stands for one label (RFC 6125, 6.4.3)."""
    wanted = wanted.lower().strip("[]")
    have = {name.lower() for name in given}
    _, _, parent = wanted.partition(".")
    return wanted in have or (bool(parent) and f"*.{parent}" in have)


def check(pair: Pair, names: Sequence[str], now: float) -> Facts:
    """What the leaf says; `Invalid` unless the key is its own, it is valid now, and it covers every name."""
    chain, key = load_chain(pair.chain), load_key(pair.key)
    try:
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        owners = [
            one.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            for one in chain
        ]
    except (ValueError, UnsupportedAlgorithm, AttributeError):
        raise Invalid("a key of a kind this machine cannot use", hint="take ECDSA P-256 or RSA") from None
    if owners[0] != public:
        later = "it belongs to a later one: the leaf must come first" if public in owners else "make a new pair"
        raise Invalid("the private key is not the certificate's", hint=later)
    found = _facts(chain[0])
    if found.not_after <= now:
        raise Invalid("the certificate has expired", hint="renew it; if it is new, look at the clock of this machine")
    if found.not_before > now + SKEW:
        raise Invalid("the certificate is not valid yet", hint="look at the clock of this machine")
    if missing := [name for name in names if not covers(found.names, name)]:
        raise Invalid(
            f"the certificate is not for {', '.join(missing)}", hint=f"it is for {', '.join(found.names) or 'no name'}"
        )
    return found
