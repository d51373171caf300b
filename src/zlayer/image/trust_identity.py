"""Who may sign without a key of their own: an issuer, and the subject it vouched for.

The issuer is compared whole. A `*` in the subject is kept from reaching past what its writer meant: into another host,
another account, or over the `@` that parts a workflow from its ref and a mailbox from its domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MOST_STARS = 4
MAX_NAME = 2048
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^/@*]+/[^/*]+/.*")
_EMAIL = re.compile(r"(\*|[^@*/:]+)@[^@*/:]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """`issuer`: the OIDC issuer's URL. `subject`: an e-mail address or a URI, perhaps with `*`."""

    issuer: str
    subject: str

    def covers(self, issuer: str, subject: str) -> bool:
        """Whether a certificate for this subject by this issuer is meant. Names that are none are never covered."""
        if issuer != self.issuer or not is_name(subject):
            return False
        if "*" not in self.subject:
            return subject == self.subject
        if {".", ".."} & set(subject.split("/")):
            return False
        return _pattern(self.subject).fullmatch(subject) is not None


def is_name(text: str) -> bool:
    """Whether it can be a subject: visible ASCII alone, so no line break or look-alike; one `@` in an e-mail."""
    if len(text) > MAX_NAME or _PRINTABLE.fullmatch(text) is None:
        return False
    return "://" in text or (text.count("@") == 1 and not text.startswith("@") and not text.endswith("@"))


def read_identity(table: Mapping[str, Any]) -> Identity:  # Any: TOML values
    """One of `identities`. Errors: `ValueError`, saying what to write instead."""
    for key in table:
        if key not in ("issuer", "subject"):
            raise ValueError(f"unknown key {key!r}: an identity has an issuer and a subject")
    issuer, subject = table.get("issuer"), table.get("subject")
    if not isinstance(issuer, str) or not re.fullmatch(r"https?://[\x21-\x7e]+", issuer) or "*" in issuer:
        raise ValueError('wants an issuer: the whole URL, without *, such as "https://accounts.example.com"')
    if not isinstance(subject, str) or not is_name(subject):
        raise ValueError('wants a subject: an e-mail address or a URI, such as "me@example.com", in visible ASCII')
    _check_stars(subject)
    return Identity(issuer, subject)


def _check_stars(subject: str) -> None:
    if "*" not in subject:
        return
    if "**" in subject or subject.count("*") > MOST_STARS:
        raise ValueError(f"{subject!r}: at most {MOST_STARS} *, and none beside another")
    if "://" in subject and not _URI.fullmatch(subject):
        raise ValueError(f'{subject!r}: * stands after the host and one part of the path: "https://host/team/*"')
    if "://" not in subject and not _EMAIL.fullmatch(subject):
        raise ValueError(f'{subject!r}: in an e-mail address * stands for all before the @: "*@example.com"')


@lru_cache(maxsize=256)
def _pattern(subject: str) -> re.Pattern[str]:
    """`*` is a run without `/` and `@`; a last one after a slash is all that follows."""
    parts = subject.split("*")
    within = r"[^/@]+".join(re.escape(part) for part in parts)
    if parts[-1] == "" and parts[-2].endswith("/"):
        within = within.removesuffix(r"[^/@]+") + r".+"
    return re.compile(within)
