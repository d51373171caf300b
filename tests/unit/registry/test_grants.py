"""Grants: what people write, what it matches, and what is refused because it could match nothing or be misread."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid
from zlayer.registry.grants import ALL, STARS, Grant, allows, grant, parse_grant
from zlayer.registry.names import MAX_NAME, is_name


def test_a_grant_as_people_write_it() -> None:
    assert parse_grant("team/*:pull,push") == Grant("team/*", frozenset({"pull", "push"}))
    assert parse_grant("team/app: delete , pull") == Grant("team/app", frozenset({"pull", "delete"}))
    assert str(parse_grant("*:push,pull")) == "*:pull,push"
    assert parse_grant(str(Grant("a*b", ALL))) == Grant("a*b", ALL)


NO_NAME, NO_RIGHT = "no repository's name", "is no right"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("team/*", "no rights"), ("team/*:", NO_RIGHT), ("team/*:pull,", NO_RIGHT), ("team/*:*", NO_RIGHT),
        ("team/*:PULL", NO_RIGHT), ("team/*:admin", NO_RIGHT), (":pull", NO_NAME),
        ("../*:pull", NO_NAME), ("team/../*:pull", NO_NAME), ("..:pull", NO_NAME),
        (".*:pull", NO_NAME), ("./team:pull", NO_NAME), ("Team/*:pull", NO_NAME),
        ("/team:pull", NO_NAME), ("team/:pull", NO_NAME), ("team//app:pull", NO_NAME),
        ("team/?:pull", NO_NAME), ("[a-z]*:pull", NO_NAME), ("team/*\n:pull", NO_NAME),
        ("t\u00e9am:pull", NO_NAME), ("_*:pull", NO_NAME), ("team/_manifests:pull", NO_NAME),
        ("team%2f*:pull", NO_NAME), ("host:5000/team:pull", NO_NAME), ("a" * 256 + ":pull", NO_NAME),
        ("**:pull", "one \\*"), ("team/**:pull", "one \\*"), ("a*a*a*a*a*:pull", "at most 4"), ("{a,b}:pull", NO_NAME),
    ],
)  # fmt: skip
def test_what_grants_nothing(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as told:
        parse_grant(text)
    assert "--allow" in (told.value.hint or "")


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("team", ["team"], ["team2", "team/app", "a/team", "tea"]),
        ("team/*", ["team/app", "team/app/x"], ["team", "team2/app", "a/team/app", "teams/app"]),
        ("team*", ["team", "team2", "team/app", "team2/app"], ["a/team", "tea"]),
        ("*/app", ["team/app", "a/b/app"], ["app", "team/apps", "team/app/x"]),
        ("a.b", ["a.b"], ["axb", "a-b"]),
        ("*", ["a", "a/b", "a-b__c.d"], []),
    ],
)
def test_which_names_a_pattern_matches(pattern: str, inside: list[str], outside: list[str]) -> None:
    grants = [grant(pattern, ["pull"])]
    assert [name for name in (*inside, *outside) if allows(grants, "pull", name)] == inside
    assert not any(allows(grants, "push", name) for name in inside)


PATTERNS = st.text("ab./*-_", max_size=8)
NAMES = st.from_regex(r"[ab]{1,2}([./_-][ab]{1,2}){0,2}", fullmatch=True)


def slowly(pattern: str, name: str) -> bool:
    """What `*` means, from its definition."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(slowly(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return name[:1] == pattern[0] and slowly(pattern[1:], name[1:])


@given(PATTERNS, NAMES)
def test_a_star_is_any_characters_and_a_refused_pattern_matches_no_name(pattern: str, name: str) -> None:
    stars = "**" in pattern or pattern.count("*") > STARS
    made = []
    with suppress(Invalid):
        made = [grant(pattern, ["pull"])]
    assert is_name(name)
    assert allows(made, "pull", name) == (slowly(pattern, name) and not stars)


@pytest.mark.timeout(5)
def test_no_pattern_takes_long() -> None:
    made = grant("a*a*a*a*b", ["pull"])
    for _ in range(100):
        assert not allows([made], "pull", "a" * MAX_NAME)
