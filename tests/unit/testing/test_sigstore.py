"""The Sigstore of the tests writes what an independent reader reads (zlayer.testing.sigstore*)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509

from zlayer.image.keyless_der import OCTETS, SEQUENCE, read
from zlayer.testing.sigstore import MADE, Sigstore
from zlayer.testing.sigstore_der import node, number, octets, oid, sequence
from zlayer.testing.sigstore_image import signed
from zlayer.testing.sigstore_time import token


def test_a_certificate_carries_one_promise_of_the_ct_log() -> None:
    sigstore = Sigstore()
    extensions = sigstore.signer().certificate.extensions
    (promise,) = extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    assert promise.timestamp.replace(tzinfo=UTC) == datetime(2024, 5, 6, 11, 59, 0, 321000, UTC)
    assert sigstore.stamping() == sigstore.stamping()


def test_der_is_read_as_it_was_written() -> None:
    for text in ("1.3.6.1.4.1.57264.1.8", "2.16.840.1.101.3.4.2.1", "0.9.2342"):
        assert read(oid(text)).oid() == text
    for value in (0, 1, 127, 128, 65536, 1 << 70):
        assert read(number(value)).number() == value
    for size in (0, 127, 128, 255, 256, 70_000):
        assert read(sequence(octets(b"x" * size))).wants(SEQUENCE).parts()[0].wants(OCTETS).body == b"x" * size


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x80\0\0", b"\x30\x81\x01\0", b"\x30\x82\0\x01\0", b"\x30\x02\0", b"\x05\0\0", b"\x1f\x01\0",
     b"\x30\x85\0\0\0\0\0"],
)  # fmt: skip
def test_der_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|not DER|after the end"):
        read(data)


def test_der_of_another_shape() -> None:
    with pytest.raises(ValueError, match="tag 0x5 where 0x30"):
        read(node(5)).wants(SEQUENCE)
    with pytest.raises(ValueError, match="a structure should be"):
        read(node(5)).parts()
    with pytest.raises(ValueError, match="empty object identifier"):
        read(node(6)).oid()


def test_an_answer_of_the_timestamp_authority_and_an_image() -> None:
    sigstore = Sigstore()
    assert len(read(token(sigstore.stamper, sigstore.stamping(), b"x", MADE)).parts()) == 2
    notes = signed(sigstore.signer(), f"sha256:{'1' * 64}", "r.example/a").manifest.read()
    assert b"dev.sigstore.cosign/bundle" in notes
