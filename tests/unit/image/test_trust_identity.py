from __future__ import annotations

import pytest

from zlayer.image.trust_identity import Identity, is_name, read_identity

ISSUER = "https://issuer.example"
FLOW = "https://github.com/team/app/.github/workflows/release.yml@refs/tags/v1.2"


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("dev@example.com", "dev@example.com", True),
        ("dev@example.com", "Dev@example.com", False),
        ("dev@example.com", "dev@example.com\n", False),
        ("*@example.com", "dev@example.com", True),
        ("*@example.com", "dev@sub.example.com", False),
        ("*@example.com", "a@evil.example@example.com", False),
        ("*@example.com", "@example.com", False),
        ("*@example.com", "https://evil.example/x@example.com", False),
        ("*@example.com", "dev@example.com\nx@example.com", False),
        (FLOW, FLOW, True),
        ("https://github.com/team/*", FLOW, True),
        ("https://github.com/team/*", "https://github.com/team-evil/app", False),
        ("https://github.com/team/*", "https://github.com/team/../evil/app", False),
        ("https://github.com/team/*", "https://github.com/team/", False),
        ("https://github.com/team/app*", "https://github.com/team/app2", True),
        ("https://github.com/team/app*", "https://github.com/team/app2/x", False),
        ("https://github.com/team/app/.github/workflows/release.yml@refs/tags/*", FLOW, True),
        ("https://github.com/team/app/.github/workflows/release.yml@refs/tags/v*", FLOW, True),
        ("https://github.com/team/app/.github/workflows/release.yml@refs/heads/*", FLOW, False),
        ("https://github.com/team/app/.github/workflows/*@refs/heads/main",
         "https://github.com/team/app/.github/workflows/x.yml@refs/heads/evil@refs/heads/main", False),
        ("https://github.com/team/*/.github/workflows/release.yml@refs/tags/v1.2", FLOW, True),
        ("https://github.com/team/*/.github/workflows/release.yml@refs/tags/v1.2",
         FLOW.replace("team/app", "team/a/b"), False),
        ("https://github.com/team/a.p/*", "https://github.com/team/app/x", False),
        ("https://github.com/team/[a-z]/*", "https://github.com/team/b/x", False),
    ],
)  # fmt: skip
def test_whom_a_pattern_means(pattern: str, subject: str, covered: bool) -> None:
    read = read_identity({"issuer": ISSUER, "subject": pattern})
    assert read.covers(ISSUER, subject) is covered
    assert not read.covers(f"{ISSUER}/", subject)


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("*", "wants a subject"),
        ("", "wants a subject"),
        (3, "wants a subject"),
        ("dev@example.com\n", "wants a subject"),
        ("dév@example.com", "wants a subject"),
        ("*@*", "in an e-mail address"),
        ("d*@example.com", "in an e-mail address"),
        ("dev@*.com", "in an e-mail address"),
        ("https://*/team/x", "after the host and one part"),
        ("https://github.com*/team/x", "after the host and one part"),
        ("https://github.com/*", "after the host and one part"),
        ("https://github.com/te*/app", "after the host and one part"),
        ("https://me@github.com/team/*", "after the host and one part"),
        ("https://github.com/team/**", "none beside another"),
        ("https://github.com/team/*/*/*/*/*", "at most 4"),
    ],
)
def test_subjects_that_would_reach_too_far(subject: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_identity({"issuer": ISSUER, "subject": subject})


@pytest.mark.parametrize("issuer", [None, "", "issuer.example", "https://*", "https://issuer.example\n", "https://a b"])
def test_issuers_that_are_none(issuer: object) -> None:
    with pytest.raises(ValueError, match="wants an issuer"):
        read_identity({"issuer": issuer, "subject": "dev@example.com"})


def test_an_unknown_key() -> None:
    with pytest.raises(ValueError, match="unknown key 'email'"):
        read_identity({"issuer": ISSUER, "email": "dev@example.com"})


def test_an_endless_name_is_none() -> None:
    assert not is_name(f"https://github.com/team/{'a' * 4000}")
    assert not Identity(ISSUER, "https://github.com/team/*").covers(ISSUER, f"https://github.com/team/{'a' * 4000}")
