from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.hashes import SHA384

from zlayer.image.keyless_signature import is_signed
from zlayer.testing.signing import Kind, Signer


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_each_sort_of_key(kind: Kind) -> None:
    signer = Signer.make(kind)
    key, signature = signer.key.public_key(), signer.sign(b"x")
    assert is_signed(key, signature, b"x")
    assert not is_signed(key, signature, b"y")
    assert not is_signed(key, b"", b"x")
    assert not is_signed(Signer.make(kind).key.public_key(), signature, b"x")
    assert is_signed(key, signature, b"x", SHA384()) is (kind == "ed25519"), "the hash is part of the others"


def test_a_key_that_signs_nothing() -> None:
    assert not is_signed(x25519.X25519PrivateKey.generate().public_key(), b"", b"")
