"""Which images may run: the `[[image.policy]]` tables of the daemon's config file, and which of them is for an image.

Plain values that also travel to the worker process as JSON. Who writes a reference is not who writes a policy, so names
are compared in one spelling: another case of the registry's name, or its default port, leads past no policy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from zlayer.image.reference import DOCKER_HUB
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_root import RootFile
from zlayer.model.errors import Denied, Problem

Require = Literal["signature", "digest", "nothing", "refuse"]
REQUIREMENTS: tuple[str, ...] = get_args(Require)
ANY = "*"
REFUSED = "Trust"
"""The kind of the problem a refusal carries: what tells it from a registry's own refusal."""
_DOMAIN = re.compile(r"(\[[^\]]*\]|[^:]*)(?::0*([0-9]+))?")
_DEFAULT_PORTS = ("80", "443")
_HUB = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the policy. `fingerprint`: `sha256:` and the hex digest of its DER SubjectPublicKeyInfo."""

    file: str
    pem: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[image.policy]]`. `match` is canonical; `signed_as` are patterns a signature may name besides the image.

    `root` is there when `identities` are.
    """

    match: str
    require: Require
    keys: tuple[Key, ...] = ()
    signed_as: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    identities: tuple[Identity, ...] = ()
    root: RootFile | None = None

    def __str__(self) -> str:
        at = f" at {self.file}:{self.line}" if self.line else f" in {self.file}" if self.file else ""
        return f'[[image.policy]] match = "{self.match}"{at}'

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        return asdict(self)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Rule:
        """The inverse of `document`."""
        keys = tuple(Key(**key) for key in document["keys"])
        identities = tuple(Identity(**one) for one in document["identities"])
        root = RootFile(**document["root"]) if document["root"] else None
        others = tuple(document["signed_as"])
        return cls(**{**document, "keys": keys, "signed_as": others, "identities": identities, "root": root})


def canonical(name: str) -> str:
    """The one spelling of `DOMAIN/PATH`: lower case, no default port, Docker Hub's aliases and short names resolved."""
    domain, _, path = name.partition("/")
    found = _DOMAIN.fullmatch(domain.lower())
    host, port = (found[1], found[2] or "") if found else (domain.lower(), "")
    if host.startswith("["):
        with suppress(ValueError):  # no address: it will not be reached either
            host = f"[{ipaddress.ip_address(host[1:-1]).compressed}]"
    domain = host if port in ("", *_DEFAULT_PORTS) else f"{host}:{port}"
    if domain in _HUB:
        domain = DOCKER_HUB
        path = path if "/" in path or path == ANY else f"library/{path}"
    return f"{domain}/{path}"


def covers(pattern: str, name: str) -> bool:
    """Whether a canonical pattern is for the canonical name."""
    if pattern.endswith("/*"):
        return name.startswith(pattern[:-1])
    return pattern in (ANY, name)


def choose(rules: Sequence[Rule], name: str) -> Rule | None:
    """The most specific rule for `DOMAIN/PATH`: a whole name, then the longest beginning, then `*`."""
    wanted = canonical(name)
    fitting = [rule for rule in rules if covers(rule.match, wanted)]
    return max(fitting, key=lambda rule: (not rule.match.endswith(ANY), len(rule.match)), default=None)


def refusal(rule: Rule, what: str, why: str, *, hint: str) -> Denied:
    """The error for an image that its policy does not let run."""
    problem = Problem(
        why, path="image.policy", file=rule.file, line=rule.line, column=1 if rule.line else 0, kind=REFUSED
    )
    return Denied(f"image {what} is refused: {why} ({rule})", hint=hint, problems=(problem,))


def is_refusal(error: Denied) -> bool:
    return any(problem.kind == REFUSED for problem in error.problems)
