from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from zlayer.model.certificate import Pair
from zlayer.model.errors import Invalid
from zlayer.model.secret import Secret
from zlayer.proxy.certs import pem
from zlayer.proxy.certs.authority import LocalAuthority


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return LocalAuthority(tmp_path, "test").sign(["a.test", "*.b.test", "10.0.0.1"])


def refusal(pair: Pair, *names: str, now: float | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        pem.check(pair, names, time.time() if now is None else now)
    return f"{caught.value.message} {caught.value.hint}"


def test_a_good_pair(pair: Pair) -> None:
    facts = pem.check(pair, ["a.test", "x.b.test", "10.0.0.1"], time.time())
    assert facts.names == ("a.test", "*.b.test", "10.0.0.1")
    assert facts.not_after - facts.not_before > 86400
    assert "ZLayer local CA test" in facts.issuer


def test_what_is_wrong_with_a_pair_is_told(pair: Pair, tmp_path: Path) -> None:
    other = LocalAuthority(tmp_path / "other", "test").sign(["a.test"])
    assert "is not the certificate's" in refusal(Pair(pair.chain, other.key), "a.test")
    assert "not for c.test" in refusal(pair, "a.test", "c.test")
    assert "expired" in refusal(pair, "a.test", now=time.time() + 31 * 86400)
    assert "not valid yet" in refusal(pair, "a.test", now=time.time() - 86400)
    assert "no certificate" in refusal(Pair("garbage", pair.key))
    assert "no private key" in refusal(Pair(pair.chain, Secret("garbage")))
    assert "leaf must come first" in refusal(
        Pair(
            "".join(
                part + "-----END CERTIFICATE-----\n"
                for part in reversed(pair.chain.split("-----END CERTIFICATE-----\n")[:2])
            ),
            pair.key,
        )
    )


def test_a_key_with_a_password_is_told_without_its_text() -> None:
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(Invalid, match="password"):
        pem.load_key(Secret(locked.decode()))


def test_a_request_has_the_names_and_no_subject() -> None:
    made = x509.load_der_x509_csr(pem.request(["a.test", "*.b.test"], pem.new_key()))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "*.b.test"]
    assert list(made.subject) == []


@pytest.mark.parametrize(
    ("given", "wanted", "good"),
    [
        (["a.test"], "a.test", True),
        (["A.test"], "a.TEST", True),
        (["*.test"], "a.test", True),
        (["*.test"], "b.a.test", False),
        (["*.a.test"], "*.a.test", True),
        (["*.test"], "test", False),
        ([], "a.test", False),
        (["::1"], "[::1]", True),
    ],
)
def test_which_hosts_a_certificate_is_good_for(given: list[str], wanted: str, good: bool) -> None:
    assert pem.covers(given, wanted) is good


def test_hostile_names_are_refused() -> None:
    for name in ("\u00e4.test", "\u2603"):
        with pytest.raises(Invalid):
            pem.general_names([name])
    assert list(pem.subject("a" * 65)) == []
