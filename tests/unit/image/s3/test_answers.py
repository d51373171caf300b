"""What S3's documents and refusals mean (zlayer.image.s3.answers)."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest

from zlayer.image.s3 import answers
from zlayer.model.errors import Corrupt, Deadline, Denied, Failed, NotFound, Unavailable, ZlayerError

UPLOADS = b"""<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket>
<IsTruncated>false</IsTruncated><Upload><Key>k</Key><UploadId>u</UploadId>
<Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload></ListMultipartUploadsResult>"""


def document(code: str, more: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>a\nb</Message>{more}</Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (403, document("SignatureDoesNotMatch", "<StringToSign>x</StringToSign>"), Denied, "secret key"),
        (403, document("RequestTimeTooSkewed"), Denied, "clock"),
        (403, b"", Denied, "let the key"),
        (404, document("NoSuchBucket"), NotFound, "make the bucket"),
        (404, document("NoSuchUpload"), NotFound, "endpoint"),
        (503, document("SlowDown"), Unavailable, "later"),
        (500, b"<html>", Unavailable, "later"),
        (400, document("AuthorizationHeaderMalformed", "<Region>eu-9</Region>"), Failed, 'region = "eu-9"'),
        (400, document("EntityTooLarge"), Failed, "endpoint"),
    ],
)
def test_refusals(status: int, body: bytes, kind: type[ZlayerError], hint: str) -> None:
    error = answers.refusal(status, body).error("S3 bucket b")
    assert type(error) is kind
    assert hint in error.hint
    assert "\n" not in error.message
    assert "StringToSign" not in str(error)


def test_a_redirect_names_the_region() -> None:
    error = answers.refusal(301, b"", "eu-west-1").error("S3 bucket b")
    assert 'set region = "eu-west-1"' in error.hint


@pytest.mark.parametrize(
    ("status", "code", "absent"),
    [(404, "NoSuchKey", True), (404, "", True), (403, "AccessDenied", True), (403, "", True),
     (404, "NoSuchBucket", False), (403, "InvalidAccessKeyId", False), (500, "", False)],
)  # fmt: skip
def test_what_is_not_there(status: int, code: str, absent: bool) -> None:
    assert answers.Refusal(status, code, "").absent is absent


def test_unfinished_uploads() -> None:
    assert list(answers.pending(answers.parse(UPLOADS))) == [answers.Pending("k", "u", 1289422113.0)]
    with pytest.raises(Corrupt):
        list(answers.pending(answers.parse(UPLOADS.replace(b"2010-", b"soon"))))


def test_completion_names_the_parts() -> None:
    root = answers.parse(answers.completion([(1, '"a"'), (2, '"b"')]))
    assert [child[1].text for child in root] == ['"a"', '"b"']
    assert not answers.is_error(root)
    assert answers.is_error(answers.parse(document("InternalError")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"\xff",
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///x"><a/>',
    ],
)
def test_traps_are_refused(body: bytes) -> None:
    with pytest.raises(Corrupt):
        answers.parse(body)


def test_what_is_missing_from_a_document() -> None:
    with pytest.raises(Corrupt, match="without UploadId"):
        answers.text(answers.parse(b"<a><UploadId/></a>"), "UploadId")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (TimeoutError(), Deadline, "stalled"),
        (socket.gaierror(-2, "Name or service not known"), Unavailable, "no address"),
        (ssl.SSLError(1, "x"), Unavailable, "TLS"),
        (http.client.IncompleteRead(b""), Unavailable, "broke off"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "Connection refused"),
        (http.client.BadStatusLine("x"), Unavailable, "cannot be reached"),
    ],
)
def test_faults(fault: OSError | http.client.HTTPException, kind: type[ZlayerError], words: str) -> None:
    error = answers.translate(fault, "S3 bucket b")
    assert type(error) is kind
    assert words in error.message
