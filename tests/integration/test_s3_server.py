"""The server the S3 tests stand on refuses what S3 refuses (zlayer.testing.s3_swift_server)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.s3.bucket import Bucket
from zlayer.model.errors import Denied, Failed, NotFound
from zlayer.testing.s3_swift import ACCESS, Swift, content, missing, write_keys

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")
KEY = "zlayer/blobs/sha256/a$b +é"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


def test_objects_come_back_whole_and_from_a_byte_on(swift: Swift) -> None:
    body = os.urandom(300_000)
    bucket = swift.client()
    bucket.put(KEY, content(body))
    for offset in (0, 1, 299_999):
        answer = bucket.get(KEY, offset)
        assert answer is not None
        assert answer.body(1_000_000) == body[offset:]
    assert bucket.get(KEY, 300_000) is None
    assert (bucket.size(KEY), bucket.size("another"), bucket.get("another")) == (300_000, None, None)


def test_a_wrong_key_is_refused(swift: Swift, tmp_path: Path) -> None:
    write_keys(tmp_path / "keys", ACCESS, "wrong")
    bucket = Bucket(replace(swift.settings(), credentials_file=str(tmp_path / "keys")), {})
    with pytest.raises(Denied, match="SignatureDoesNotMatch"):
        bucket.get(KEY)
    with pytest.raises(Denied, match="SignatureDoesNotMatch"):
        bucket.put(KEY, content(b"x"))


def test_a_wrong_region_or_bucket_is_told(swift: Swift) -> None:
    with pytest.raises(Failed) as caught:
        Bucket(replace(swift.settings(), region="us-nowhere-1"), {}).probe()
    assert 'region = "eu-test-1"' in caught.value.hint
    with pytest.raises(NotFound, match="NoSuchBucket"):
        Bucket(replace(swift.settings(), bucket="another"), {}).probe()


def test_a_body_that_is_not_what_was_signed_is_refused(swift: Swift) -> None:
    with pytest.raises(Failed):
        swift.client().put("altered", replace(content(b"abc"), sha256=hashlib.sha256(b"abd").hexdigest()))
    assert swift.client().get("altered") is None


def test_an_upload_in_parts(swift: Swift) -> None:
    body = os.urandom((6 << 20) + 5)
    bucket, key = swift.client(), "zlayer/blobs/parts"
    upload = bucket.begin(key, "a/b")
    assert [(one.key, one.upload) for one in bucket.uploads()] == [(key, upload)]
    etags = [
        (1, bucket.part(key, upload, 1, content(body[: 6 << 20]))),
        (2, bucket.part(key, upload, 2, content(body[6 << 20 :]))),
    ]
    bucket.complete(key, upload, etags)
    answer = bucket.get(key, 6 << 20)
    assert answer is not None
    assert answer.body(100) == body[6 << 20 :]
    assert bucket.uploads() == []
    bucket.abort(key, upload)
    left = bucket.begin(key, "a/b")
    bucket.abort(key, left)
    assert bucket.uploads() == []
