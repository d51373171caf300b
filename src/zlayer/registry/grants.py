"""What somebody may do in which repositories: `team/*:pull,push`, read, written and asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from zlayer.model.errors import Invalid
from zlayer.registry.names import is_name

Right = Literal["pull", "push", "delete"]
RIGHTS: tuple[Right, ...] = ("pull", "push", "delete")
ALL: frozenset[str] = frozenset(RIGHTS)
EVERYWHERE = "*"
STARS = 4


@dataclass(frozen=True, slots=True)
class Grant:
    """`rights` in the repositories whose names `pattern` matches: `*` stands for any characters, `/` among them."""

    pattern: str
    rights: frozenset[str]

    def __str__(self) -> str:
        return f"{self.pattern}:{','.join(sorted(self.rights))}"


def allows(grants: Iterable[Grant], right: str, repository: str) -> bool:
    """Whether one of the grants gives the right there. Grants only add: no grant takes away."""
    return any(right in grant.rights and fnmatchcase(repository, grant.pattern) for grant in grants)


def parse_grant(text: str) -> Grant:
    """A grant as people write it, `PATTERN:RIGHT,RIGHT`. Raises `Invalid`."""
    pattern, colon, listed = text.rpartition(":")
    if not colon:
        raise _wrong(text, "no rights are named")
    return grant(pattern, (word.strip() for word in listed.split(",")))


def grant(pattern: str, rights: Iterable[str]) -> Grant:
    """A grant, checked. Raises `Invalid`."""
    wanted = frozenset(rights)
    if unknown := sorted(wanted - ALL):
        raise _wrong(pattern, f"{unknown[0][:20]!r} is no right: there are {', '.join(RIGHTS)}")
    if not wanted:
        raise _wrong(pattern, "no rights are named")
    if not is_name(pattern.replace("*", "a")):  # a letter stands beside whatever may stand in a name
        raise _wrong(
            pattern, "no repository's name is like that: lower-case words joined by / . _ or -, * for any part"
        )
    if "**" in pattern or pattern.count("*") > STARS:
        raise _wrong(pattern, f"one * stands for slashes too, and there are at most {STARS}")
    return Grant(pattern, wanted)


def _wrong(text: str, why: str) -> Invalid:
    return Invalid(
        f"{text[:80]!r} grants nothing: {why}", hint="--allow 'team/*:pull,push', or --allow 'team/app:pull'"
    )
