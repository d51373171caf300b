"""The certificate of tls-alpn-01 (zlayer.proxy.certs.proof)."""

from __future__ import annotations

import hashlib

from cryptography import x509

from zlayer.proxy.certs import pem
from zlayer.proxy.certs.proof import IDENTIFIER, proof


def test_it_says_what_rfc_8737_wants() -> None:
    made = proof("a.example.org", "token.thumbprint")
    [leaf] = pem.load_chain(made.chain)
    found = leaf.extensions.get_extension_for_oid(IDENTIFIER)
    assert found.critical
    assert isinstance(found.value, x509.UnrecognizedExtension)
    assert found.value.value == b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest()
    assert pem.facts(made.chain).names == ("a.example.org",)
    leaf.verify_directly_issued_by(leaf)
    pem.check(made, ["a.example.org"], leaf.not_valid_before_utc.timestamp() + 1)
