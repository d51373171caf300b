"""`[image.s3]` and its variables (zlayer.image.s3.settings)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zlayer.image.s3.settings import S3Settings, read
from zlayer.image.settings import RegistrySettings

DIGEST = "sha256:" + "a" * 64


def good(table: dict[str, Any], environ: dict[str, str] | None = None, here: Path = Path("/")) -> S3Settings:
    settings, problems = read(table, environ or {}, here)
    assert problems == []
    assert settings is not None
    return settings


def test_a_bucket_is_enough() -> None:
    settings = good({"bucket": "images"})
    assert (settings.host, settings.by_path, settings.name) == (
        "images.s3.us-east-1.amazonaws.com", False, "s3://images/zlayer/blobs/",
    )  # fmt: skip
    assert settings.key(DIGEST) == f"zlayer/blobs/sha256/{'a' * 64}"


def test_an_endpoint_of_ones_own_is_asked_by_path() -> None:
    settings = good({"bucket": "images", "endpoint": "https://s3.lan:9000", "prefix": "a/b", "region": "eu-1"})
    assert (settings.host, settings.by_path, settings.prefix) == ("s3.lan:9000", True, "a/b/")
    by_name = good({"bucket": "images", "endpoint": "https://s3.lan:9000", "path_style": False, "prefix": ""})
    assert (by_name.host, by_name.key(DIGEST)) == ("images.s3.lan:9000", f"sha256/{'a' * 64}")


def test_without_a_bucket_there_is_no_tier() -> None:
    assert read({}, {}, Path("/")) == (None, [])
    assert read({}, {"AWS_ACCESS_KEY_ID": "x"}, Path("/")) == (None, [])


def test_the_environment_wins() -> None:
    environ = {
        "ZLAYER_S3_BUCKET": "other", "ZLAYER_S3_PREFIX": "p/", "ZLAYER_S3_REGION": "eu-2",
        "ZLAYER_S3_ENDPOINT": "http://127.0.0.1:1", "ZLAYER_S3_PATH_STYLE": "TRUE",
    }  # fmt: skip
    settings = good({"bucket": "UPPER is never looked at", "pause": 5}, environ)
    assert settings == S3Settings("other", "p/", "eu-2", "http://127.0.0.1:1", path_style=True, pause=5)
    assert good({}, {"ZLAYER_S3_BUCKET": "alone"}).bucket == "alone"


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ({"bucket": "abc", "regoin": "x"}, "regoin", "unknown key"),
        ({"prefix": "a"}, "bucket", "missing"),
        ({"bucket": "Images"}, "bucket", "no bucket's name"),
        ({"bucket": "a..b", "path_style": True}, "bucket", "no bucket's name"),
        ({"bucket": 5}, "bucket", "must be text"),
        ({"bucket": "abc", "region": "eu 1"}, "region", "no region"),
        ({"bucket": "abc", "prefix": "/a"}, "prefix", "no prefix"),
        ({"bucket": "abc", "prefix": "a/../b"}, "prefix", "no prefix"),
        ({"bucket": "abc", "prefix": "a b"}, "prefix", "no prefix"),
        ({"bucket": "abc", "endpoint": "s3.lan"}, "endpoint", "write https://"),
        ({"bucket": "abc", "endpoint": "https://s3.lan/path"}, "endpoint", "write https://"),
        ({"bucket": "abc", "endpoint": "https://s3.lan:99999"}, "endpoint", "write https://"),
        ({"bucket": "abc", "endpoint": "https://u:p@s3.lan"}, "endpoint", "credentials_file"),
        ({"bucket": "abc", "endpoint": "http://s3.lan"}, "endpoint", "plain HTTP"),
        ({"bucket": "abc", "endpoint": "https://127.0.0.1", "path_style": False}, "path_style", "no names below"),
        ({"bucket": "a.b", "path_style": False}, "path_style", "dots"),
        ({"bucket": "abc", "path_style": "yes"}, "path_style", "true or false"),
        ({"bucket": "abc", "ca": "none.pem"}, "ca", "no such file"),
        ({"bucket": "abc", "credentials_file": "none"}, "credentials_file", "no such file"),
        ({"bucket": "abc", "pause": 0}, "pause", "seconds"),
        ({"bucket": "abc", "stall_timeout": True}, "stall_timeout", "seconds"),
        ({"bucket": "abc", "limit_rate": -1}, "limit_rate", "whole number"),
    ],
)
def test_what_is_wrong_is_told(table: dict[str, Any], key: str, words: str) -> None:
    settings, problems = read(table, {}, Path("/nowhere"))
    assert settings is None
    assert [problem.path for problem in problems] == [f"image.s3.{key}"]
    assert words in problems[0].message


def test_every_problem_at_once() -> None:
    table = {"bucket": "X", "region": "!", "endpoint": "ftp://x", "prefix": "//", "stall_timeot": 1}
    _, problems = read(table, {"ZLAYER_S3_PATH_STYLE": "maybe"}, Path("/"))
    assert {problem.path.rpartition(".")[2] for problem in problems} == {
        "bucket", "region", "endpoint", "prefix", "stall_timeot", "path_style",
    }  # fmt: skip
    assert next(problem for problem in problems if problem.path.endswith("ot")).suggestion == "stall_timeout"
    assert read("text", {}, Path("/"))[1][0].message == "must be a table"


def test_they_travel_to_the_worker(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    settings = good({"bucket": "abc", "ca": "ca.pem"}, here=tmp_path)
    assert settings.ca == str(tmp_path / "ca.pem")
    whole = RegistrySettings(s3=settings)
    assert RegistrySettings.of_document(whole.document()) == whole
    assert RegistrySettings.of_document(RegistrySettings().document()).s3 is None


def test_buckets_have_marks_of_their_own() -> None:
    assert len({good({"bucket": b, "prefix": p}).mark for b in ("abc", "abd") for p in ("", "p/")}) == 4


BUCKET = {"bucket": "images"}


@pytest.mark.parametrize("kind", ["disk", "persistent"])
def test_a_cache_on_disk_leaves_the_bucket_out(kind: str) -> None:
    assert read(BUCKET, {"ZLAYER_CACHE_TYPE": kind}, Path("/")) == (None, [])
    assert read({"bucket": "UPPER"}, {"ZLAYER_CACHE_TYPE": kind}, Path("/"))[1] != [], "what is wrong is told"


def test_a_cache_in_s3_needs_a_bucket() -> None:
    assert good(BUCKET, {"ZLAYER_CACHE_TYPE": "s3"}).bucket == "images"
    _, problems = read({}, {"ZLAYER_CACHE_TYPE": "s3"}, Path("/"))
    assert [(one.path, "bucket" in one.message) for one in problems] == [("ZLAYER_CACHE_TYPE", True)]


@pytest.mark.parametrize(
    ("kind", "words", "near"), [("memory", "tmpfs", "disk"), ("persistant", "unknown", "persistent")]
)
def test_other_caches_are_refused(kind: str, words: str, near: str) -> None:
    _, [problem] = read(BUCKET, {"ZLAYER_CACHE_TYPE": kind}, Path("/"))
    assert (problem.path, words in problem.message, problem.suggestion) == ("ZLAYER_CACHE_TYPE", True, near)
