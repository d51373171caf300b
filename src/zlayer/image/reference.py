"""Image references: `[domain/]path[:tag][@digest]`, read and normalised as the Docker command line does.

Source: the grammar and normalisation of github.com/distribution/reference; digests as in OCI image-spec,
descriptor.md. Light on purpose: the worker process and the local lookups load it, and parsing is cached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from zlayer.model.errors import Invalid

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
MAX_PATH = 255
MAX_TEXT = 1024
"""Longer inputs are refused before any pattern sees them."""
_DIGEST_HEX = {"sha256": 64, "sha512": 128}

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_WORD}(?:/{_WORD})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}))?"
)
_HEX64 = re.compile(r"[0-9a-f]{64}")
_FORM = "write it as [registry/]name[:tag][@sha256:digest], for example docker.io/library/redis:7"


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference: the domain is always there, and a tag unless a digest is. `str()` is its full form."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: what tags and digests hang on."""
        return f"{self.domain}/{self.path}"

    @property
    def locator(self) -> str:
        """What the registry is asked for: the digest when there is one (it wins over the tag), else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """The short form people type: `redis:7` for `docker.io/library/redis:7`. It is read as the same reference."""
        text = str(self)
        if self.domain != DOCKER_HUB:
            return text
        rest = self.path.removeprefix("library/")
        if "/" not in rest:
            return text.removeprefix(f"{DOCKER_HUB}/library/")
        return text if _is_domain(self.path.partition("/")[0]) else text.removeprefix(f"{DOCKER_HUB}/")


def is_digest(text: str) -> bool:
    """Whether `text` is `sha256:` or `sha512:` and exactly as many lower-case hex digits as that needs."""
    algorithm, _, digits = text.partition(":")
    return len(digits) == _DIGEST_HEX.get(algorithm, -1) and not set(digits) - set("0123456789abcdef")


@lru_cache(maxsize=1024)
def parse(text: str, default_registry: str = DOCKER_HUB) -> Reference:
    """The normalised reference `text` stands for. Names without a registry go to `default_registry`.

    Errors: `Invalid`, saying which part is wrong and how it is written.
    """
    if not text or text != text.strip():
        raise _invalid(text, "is empty" if not text.strip() else "has blanks around it")
    if len(text) > MAX_TEXT:
        raise _invalid(text, f"is longer than {MAX_TEXT} characters", hint="shorten it")
    if _HEX64.fullmatch(text):
        raise _invalid(text, "is 64 hex digits, which could be a digest", hint=f"write name@sha256:{text}")
    domain, remainder = _split(text, default_registry)
    path = re.split("[:@]", remainder, maxsplit=1)[0]
    if path != path.lower():
        raise _invalid(text, "has upper-case letters in its name", hint=f"use {_lowered(text, path)!r}")
    found = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if found is None:
        raise _invalid(text, "is not an image reference")
    port = domain.rpartition(":")[2]
    if port.isdecimal() and int(port) > 65535:
        raise _invalid(text, f"names port {port} of a registry", hint="a port is at most 65535")
    if len(path) > MAX_PATH:
        raise _invalid(text, f"has a name longer than {MAX_PATH} characters", hint="shorten the name")
    digest = found["digest"] or ""
    if digest and not is_digest(digest):
        raise _invalid(text, "has a malformed digest", hint="sha256 takes 64, sha512 128 lower-case hex digits")
    tag = found["tag"] or ("" if digest else DEFAULT_TAG)
    return Reference(domain=domain, path=path, tag=tag, digest=digest)


def _lowered(text: str, path: str) -> str:
    """`text` as it was written, with the name in lower case."""
    written = path if path in text else path.removeprefix("library/")
    return text.replace(written, written.lower())


def _split(text: str, default_registry: str) -> tuple[str, str]:
    """Domain and the rest."""
    first, slash, rest = text.partition("/")
    domain, remainder = (first, rest) if slash and _is_domain(first) else (default_registry, text)
    if domain in ("index.docker.io", "registry-1.docker.io"):
        domain = DOCKER_HUB
    if domain == DOCKER_HUB and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder


def _is_domain(first: str) -> bool:
    """Of the parts of a name: one with a dot, colon or upper-case letter is a domain; so is `localhost`."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _invalid(text: str, fault: str, *, hint: str = _FORM) -> Invalid:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return Invalid(f"image reference {shown!r} {fault}", hint=hint)
