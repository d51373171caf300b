"""The known good and bad references of distribution/reference, in their normalised forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.reference import Reference, is_digest, parse
from zlayer.model.errors import Invalid

F64, F128 = "f" * 64, "f" * 128
SHA256, SHA512 = f"sha256:{F64}", f"sha512:{F128}"
HUB = "docker.io"

GOOD = {
    "redis": (HUB, "library/redis", "latest", ""),
    "redis:7": (HUB, "library/redis", "7", ""),
    "docker.io/library/redis:latest": (HUB, "library/redis", "latest", ""),
    "docker.io/redis": (HUB, "library/redis", "latest", ""),
    "index.docker.io/redis": (HUB, "library/redis", "latest", ""),
    "index.docker.io/library/redis": (HUB, "library/redis", "latest", ""),
    "index.docker.io/docker/docker": (HUB, "docker/docker", "latest", ""),
    f"redis@{SHA256}": (HUB, "library/redis", "", SHA256),
    f"docker.io/library/redis@{SHA256}": (HUB, "library/redis", "", SHA256),
    f"busybox:latest@{SHA256}": (HUB, "library/busybox", "latest", SHA256),
    "dmcgowan/myapp": (HUB, "dmcgowan/myapp", "latest", ""),
    "library/foo/bar": (HUB, "library/foo/bar", "latest", ""),
    "store/foo/bar": (HUB, "store/foo/bar", "latest", ""),
    "test_com": (HUB, "library/test_com", "latest", ""),
    "test_com/foo": (HUB, "test_com/foo", "latest", ""),
    "test.com:tag": (HUB, "library/test.com", "tag", ""),
    "test.com:5000": (HUB, "library/test.com", "5000", ""),
    "test.com/repo:tag": ("test.com", "repo", "tag", ""),
    "test:5000/repo": ("test:5000", "repo", "latest", ""),
    "test:5000/repo:tag": ("test:5000", "repo", "tag", ""),
    f"test:5000/repo@{SHA256}": ("test:5000", "repo", "", SHA256),
    f"test:5000/repo:tag@{SHA256}": ("test:5000", "repo", "tag", SHA256),
    "lowercase:Uppercase": (HUB, "library/lowercase", "Uppercase", ""),
    "sub-dom1.foo.com/bar/baz/quux:some-long-tag": ("sub-dom1.foo.com", "bar/baz/quux", "some-long-tag", ""),
    "b.gcr.io/test.example.com/my-app:test.example.com": (
        "b.gcr.io", "test.example.com/my-app", "test.example.com", "",
    ),
    "xn--n3h.com/myimage:xn--n3h.com": ("xn--n3h.com", "myimage", "xn--n3h.com", ""),
    "xn--n3h.com:18080/foo": ("xn--n3h.com:18080", "foo", "latest", ""),
    f"xn--7o8h.com/myimage:xn--7o8h.com@{SHA512}": ("xn--7o8h.com", "myimage", "xn--7o8h.com", SHA512),
    "foo_bar.com:8080": (HUB, "library/foo_bar.com", "8080", ""),
    "foo/foo_bar.com:8080": (HUB, "foo/foo_bar.com", "8080", ""),
    "192.168.1.1": (HUB, "library/192.168.1.1", "latest", ""),
    "192.168.1.1:5000": (HUB, "library/192.168.1.1", "5000", ""),
    "192.168.1.1/repo": ("192.168.1.1", "repo", "latest", ""),
    "192.168.1.1:5000/repo:5050": ("192.168.1.1:5000", "repo", "5050", ""),
    "[2001:db8::1]/repo": ("[2001:db8::1]", "repo", "latest", ""),
    "[2001:db8:1:2:3:4:5:6]/repo:tag": ("[2001:db8:1:2:3:4:5:6]", "repo", "tag", ""),
    f"[2001:db8::1]:5000/repo:tag@{SHA256}": ("[2001:db8::1]:5000", "repo", "tag", SHA256),
    "[2001:db8::]:5000/repo": ("[2001:db8::]:5000", "repo", "latest", ""),
    "[::1]:5000/repo": ("[::1]:5000", "repo", "latest", ""),
    "localhost/foo": ("localhost", "foo", "latest", ""),
    "localhost:5000/fedora:latest": ("localhost:5000", "fedora", "latest", ""),
    "Docker/docker": ("Docker", "docker", "latest", ""),
    "FOO/bar": ("FOO", "bar", "latest", ""),
    "docker---rules/docker": (HUB, "docker---rules/docker", "latest", ""),
    "dock__er/docker": (HUB, "dock__er/docker", "latest", ""),
    "d/docker": (HUB, "d/docker", "latest", ""),
    "dbcc1": (HUB, "library/dbcc1", "latest", ""),
    F64[:-1]: (HUB, f"library/{F64[:-1]}", "latest", ""),
    f"docker.io/{F64}": (HUB, f"library/{F64}", "latest", ""),
    "a/" * 127 + "a:tag-puts-this-over-max": (HUB, "a/" * 127 + "a", "tag-puts-this-over-max", ""),
    f"name:{'t' * 128}": (HUB, "library/name", "t" * 128, ""),
}  # fmt: skip

BAD = [
    "", " ", " redis", "redis\n", ":justtag", f"@{SHA256}", "repo@sha256:" + "f" * 34, f"repo@sha256:{F64.upper()}",
    f"validname@invaliddigest:{F128}", "Uppercase:tag", "test:5000/Uppercase/lowercase:tag", "docker/Docker",
    "a/" * 128 + "a:tag", "aa/asdf$$^/aa", "[2001:db8::1]", "[2001:db8::1]:5000", "[2001:db8::1]:tag",
    "[fe80::1%eth0]:5000/repo", "[fe80::1%@invalidzone]:5000/repo", "[2001:db8:3:4::192.0.2.33]:5000/debian",
    "fc00::1:5000/debian", "https://github.com/docker/docker", "docker://quay.io/library/foo:bar", "-docker",
    "-docker/docker", "docker-/docker", "-docker-/docker", "-docker.io/docker/docker", "docker///docker",
    "docker.io/docker///docker", "docker.io/docker/Docker", "____/____", "_docker/_docker", "dock..er/docker",
    "localhost:65536/a", "dock_.er/docker", "dock-.er/docker", "docker/", "$$$", "::", F64, "name:-tag",
    f"name:{'t' * 129}", "name:",
    "name@", "redis:7:8", "a b", "name:tag\n", "x" * 2000, "café", "redis:\N{DIGIT ONE}\N{SUPERSCRIPT TWO}",
]  # fmt: skip


@pytest.mark.parametrize(("text", "parts"), GOOD.items())
def test_good(text: str, parts: tuple[str, str, str, str]) -> None:
    assert parse(text) == Reference(*parts)


def test_upper_case_is_mended_as_it_was_written() -> None:
    for text, mended in (("Redis:7", "redis:7"), ("localhost:5000/My/App", "localhost:5000/my/app")):
        with pytest.raises(Invalid) as caught:
            parse(text)
        assert caught.value.hint == f"use {mended!r}"


@pytest.mark.parametrize("text", BAD)
def test_bad(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.hint
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("text", GOOD)
def test_the_full_and_the_familiar_form_mean_the_same(text: str) -> None:
    reference = parse(text)
    assert parse(str(reference)) == reference
    assert parse(reference.familiar) == reference


def test_familiar_forms() -> None:
    assert parse("docker.io/library/redis:7").familiar == "redis:7"
    assert parse("docker.io/team/app").familiar == "team/app:latest"
    assert parse("quay.io/team/app:1").familiar == "quay.io/team/app:1"
    assert parse("docker.io/library/foo/bar").familiar == "library/foo/bar:latest"


@pytest.mark.parametrize("text", ["docker.io/quay.io/app", "docker.io/localhost/app:1", "docker.io/library/quay.io"])
def test_a_familiar_form_is_no_other_registrys(text: str) -> None:
    """Found by fuzzing: the short form of the first was read as an image of quay.io."""
    reference = parse(text)
    assert reference.domain == HUB
    assert parse(reference.familiar) == reference


def test_the_digest_wins_over_the_tag() -> None:
    assert parse(f"redis:7@{SHA256}").locator == SHA256
    assert parse("redis:7").locator == "7"


def test_another_default_registry() -> None:
    assert str(parse("app", "registry.lan:5000")) == "registry.lan:5000/app:latest"
    assert str(parse("team/app", "registry.lan:5000")) == "registry.lan:5000/team/app:latest"
    assert str(parse("docker.io/app", "registry.lan:5000")) == "docker.io/library/app:latest"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except Invalid:
        return
    assert parse(str(reference)) == reference


def test_digests() -> None:
    assert is_digest(SHA256)
    assert is_digest(SHA512)
    for bad in ("", F64, f"sha256:{F64[1:]}", f"sha256:{F64.upper()}", f"md5:{F64}", f"sha512:{F64}", SHA256 + "\n"):
        assert not is_digest(bad)
