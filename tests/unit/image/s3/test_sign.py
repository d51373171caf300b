"""The examples AWS publishes for Signature Version 4 of S3 ("Signature Calculations for the Authorization Header")."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from zlayer.image.s3.sign import EMPTY, Keys, Target, signed

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "examplebucket.s3.amazonaws.com"
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


@pytest.mark.parametrize(
    ("target", "headers", "payload", "names", "signature"),
    [
        (Target("GET", HOST, "/test.txt"), {"Range": "bytes=0-9"}, EMPTY,
         "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        (Target("PUT", HOST, "/test$file.text"),
         {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}, WELCOME,
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        (Target("GET", HOST, "/", {"lifecycle": ""}), {}, EMPTY, "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (Target("GET", HOST, "/", {"prefix": "J", "max-keys": "2"}), {}, EMPTY,
         "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)  # fmt: skip
def test_published_examples(target: Target, headers: dict[str, str], payload: str, names: str, signature: str) -> None:
    sent = signed(target, headers, payload, KEYS, "us-east-1", NOW)
    assert sent["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={names},Signature={signature}"
    )
    assert (sent["Host"], sent["x-amz-date"], sent["x-amz-content-sha256"]) == (HOST, "20130524T000000Z", payload)
    assert headers.items() <= sent.items()


def test_a_token_is_sent_and_signed() -> None:
    sent = signed(Target("GET", HOST, "/a"), {}, EMPTY, Keys("a", "b", "tok"), "us-east-1", NOW)
    assert sent["x-amz-security-token"] == "tok"
    assert "x-amz-security-token" in sent["Authorization"]


def test_what_is_sent_is_what_is_signed() -> None:
    assert Target("GET", HOST, "/a b/$é/c~d", {"x y": "1+2", "uploads": ""}).uri == (
        "/a%20b/%24%C3%A9/c~d?uploads=&x%20y=1%2B2"
    )
    assert Target("GET", HOST, "/a/../b//c").uri == "/a/../b//c"


def test_secrets_do_not_show() -> None:
    assert "secret" not in repr(Keys("id", "secret", "secret-token"))
