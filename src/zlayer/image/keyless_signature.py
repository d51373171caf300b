"""Whether a key signed something: the sorts of keys that authorities, logs and signers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm


def is_signed(key: object, signature: bytes, message: bytes, algorithm: HashAlgorithm | None = None) -> bool:
    """By ECDSA, RSA (PKCS #1 1.5) or Ed25519. `algorithm` is of ECDSA and RSA, SHA-256 unless said otherwise."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    hashed = algorithm or SHA256()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashed))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashed)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            return False
    except InvalidSignature:
        return False
    return True
