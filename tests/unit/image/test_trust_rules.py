from __future__ import annotations

import pytest

from zlayer.image.trust_rules import Key, Rule, canonical, choose, is_refusal, refusal
from zlayer.model.errors import Denied

RULES = [
    Rule("*", "refuse"),
    Rule("registry.example/*", "digest"),
    Rule("registry.example/team/*", "signature"),
    Rule("registry.example/team/app", "nothing"),
    Rule("registry.example:5000/*", "nothing"),
    Rule("docker.io/library/*", "digest"),
]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("registry.example/team/app", "registry.example/team/app"),
        ("registry.example/team/app/deeper", "registry.example/team/*"),
        ("registry.example/team2/app", "registry.example/*"),
        ("registry.example/team", "registry.example/*"),
        ("registry.example.evil/team/app", "*"),
        ("registry.example:5000/team/app", "registry.example:5000/*"),
        ("docker.io/library/redis", "docker.io/library/*"),
        ("other.example/x", "*"),
        # Other spellings of one place lead past no policy.
        ("Registry.Example/team/x", "registry.example/team/*"),
        ("registry.example:443/team/x", "registry.example/team/*"),
        ("registry.example:0443/team/x", "registry.example/team/*"),
        ("registry.example:80/team/x", "registry.example/team/*"),
        ("registry.example:05000/team/x", "registry.example:5000/*"),
        ("Docker.IO/redis", "docker.io/library/*"),
        ("registry-1.docker.io:443/library/redis", "docker.io/library/*"),
    ],
)
def test_the_most_specific_rule_wins(name: str, match: str) -> None:
    for rules in (RULES, RULES[::-1]):
        found = choose(rules, name)
        assert found is not None
        assert found.match == match


def test_without_a_rule_that_fits_there_is_none() -> None:
    assert choose(RULES[1:], "other.example/x") is None


def test_one_spelling() -> None:
    assert canonical("[0:0::1]:443/a") == canonical("[::1]/a") == "[::1]/a"
    assert canonical("[zz]/a") == "[zz]/a"
    assert canonical("index.docker.io/*") == "docker.io/*"


def test_there_and_back() -> None:
    rule = Rule("*", "signature", (Key("/k", "pem", "sha256:1"),), ("*",), "/c", 3)
    assert Rule.of_document(rule.document()) == rule


def test_a_refusal_names_the_image_the_policy_and_what_to_do() -> None:
    error = refusal(Rule("*", "refuse", file="/etc/c.toml", line=7), "a/b:1", "it is refused", hint="do that")
    assert error.message == 'image a/b:1 is refused: it is refused ([[image.policy]] match = "*" at /etc/c.toml:7)'
    assert (error.hint, error.problems[0].line, is_refusal(error)) == ("do that", 7, True)
    assert not is_refusal(Denied("wrong password"))
