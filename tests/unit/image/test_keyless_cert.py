from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import InvalidVersion

from zlayer.image.keyless_cert import (
    CODE_SIGNING,
    TIME_STAMPING,
    check_authority,
    check_published,
    check_use,
    issuer_of,
    load,
    named,
)
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import root_of
from zlayer.testing.sigstore import MADE, Sigstore, Wish


def test_what_a_good_certificate_says() -> None:
    sigstore = Sigstore()
    root, certificate = root_of(sigstore.root()), load(sigstore.signer().der)
    assert named(certificate) == ("https://issuer.example", "dev@example.com")
    issuer = issuer_of(certificate, root, [MADE, MADE + timedelta(minutes=9)])
    assert issuer == sigstore.ca.chain[0]
    check_published(certificate, issuer, root)
    check_use(certificate, CODE_SIGNING)
    with pytest.raises(Unproven, match="not for timestamps"):
        check_use(certificate, TIME_STAMPING)
    with pytest.raises(Unproven, match="is by no log of the trusted root, or for another"):
        check_published(certificate, sigstore.ca.chain[1], root)
    uri = load(sigstore.signer(Wish(subject="https://github.com/team/app/x")).der)
    assert named(uri)[1] == "https://github.com/team/app/x"


def test_no_byte_of_a_certificate_can_be_changed_unseen() -> None:
    sigstore = Sigstore()
    root, der = root_of(sigstore.root()), sigstore.signer().der
    unused = len(der) - len(load(der).signature) - 1  # how many bits of the signature's last byte to leave: of no say
    for at in range(0, len(der), 3):
        if at == unused:
            continue
        with pytest.raises((Unproven, ValueError, TypeError, InvalidVersion, UnsupportedAlgorithm)):
            issuer_of(load(der[:at] + bytes((der[at] ^ 1,)) + der[at + 1 :]), root, [MADE])


def test_the_chain_of_a_timestamp_authority() -> None:
    (authority,) = root_of(Sigstore().root()).timestampers
    assert check_authority(authority, MADE, TIME_STAMPING) == ""
    assert "certificate was not valid" in check_authority(authority, MADE + timedelta(310), TIME_STAMPING)
    assert "not to be believed" in check_authority(authority, MADE - timedelta(1000), TIME_STAMPING)
