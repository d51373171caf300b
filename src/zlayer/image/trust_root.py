"""A Sigstore `trusted_root.json`: which authorities and logs are believed, and for which times.

Read whole when the daemon starts, and refused whole when a part cannot be understood. It is never fetched.
Source: sigstore/protobuf-specs, `sigstore_trustroot.proto` (TrustedRoot) in protobuf's JSON form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from zlayer.image.trust_json import Json, Unproven, decoded, listed, member, strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

MAX_FILE = 1 << 20
_KINDS = ("application/vnd.dev.sigstore.trustedroot+json;version=0.", "application/vnd.dev.sigstore.trustedroot.v0.")
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class RootFile:
    """The file of a policy, as it was read. `fingerprint`: `sha256:` and the hex digest of its bytes."""

    file: str
    text: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Span:
    """When something counts, both ends included; without `end`, until the file says otherwise."""

    start: datetime
    end: datetime | None

    def has(self, time: datetime) -> bool:
        return self.start <= time and (self.end is None or time <= self.end)


@dataclass(frozen=True, slots=True)
class Log:
    """A transparency log: `key_id` is how entries name it."""

    name: str
    key_id: bytes
    key: PublicKeyTypes
    valid: Span


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA or timestamp authority. `chain`: who signs first, its root last."""

    name: str
    chain: tuple[Certificate, ...]
    valid: Span


@dataclass(frozen=True, slots=True)
class Root:
    """What is believed."""

    authorities: tuple[Authority, ...]
    ct_logs: tuple[Log, ...]
    logs: tuple[Log, ...]
    timestampers: tuple[Authority, ...]


def read_root_file(file: Path) -> RootFile:
    """Errors: OSError; ValueError, saying what is wrong with it."""
    with file.open("rb") as opened:
        body = opened.read(MAX_FILE + 1)
    if len(body) > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE} bytes")
    made = RootFile(str(file), body.decode(), f"sha256:{hashlib.sha256(body).hexdigest()}")
    try:
        root_of(made.text)
    except Unproven as why:
        raise ValueError(f"is no trusted root: {why}") from None
    return made


@lru_cache(maxsize=8)
def root_of(text: str) -> Root:
    """Errors: `Unproven`."""
    from cryptography.exceptions import UnsupportedAlgorithm

    document = strict_json(text.encode())
    if not str(document.get("mediaType")).startswith(_KINDS):
        raise Unproven(f"its mediaType is not {_KINDS[0]}1")
    try:
        made = Root(
            tuple(_authorities(document, "certificateAuthorities")),
            tuple(_logs(document, "ctlogs")),
            tuple(_logs(document, "tlogs")),
            tuple(_authorities(document, "timestampAuthorities")),
        )
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise Unproven(f"a key, certificate or time in it cannot be read: {fault}") from None
    if not made.authorities or not made.ct_logs or not made.logs:
        raise Unproven("it wants certificateAuthorities, ctlogs and tlogs")
    return made


def is_strong(key: object) -> bool:
    """Whether signatures by the key are worth something."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
    return isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS
    )


def _entries(document: Json, key: str) -> Iterator[Json]:
    yield from listed(document, key) if key in document else ()


def _logs(document: Json, kind: str) -> Iterator[Log]:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    for at, entry in enumerate(_entries(document, kind)):
        held = member(entry, "publicKey")
        key = load_der_public_key(decoded(held.get("rawBytes")))
        if not is_strong(key):
            raise Unproven(f"the key of {kind}[{at}] is weak, or of no known sort")
        key_id = decoded(member(entry, "logId").get("keyId"))
        if len(key_id) < 4:
            raise Unproven(f"{kind}[{at}] has no proper logId")
        yield Log(str(entry.get("baseUrl", "")), key_id, key, _span(held, f"{kind}[{at}]"))


def _authorities(document: Json, kind: str) -> Iterator[Authority]:
    from cryptography.x509 import load_der_x509_certificate

    for at, entry in enumerate(_entries(document, kind)):
        held = listed(member(entry, "certChain"), "certificates")
        chain = tuple(load_der_x509_certificate(decoded(one.get("rawBytes"))) for one in held)
        if not chain:
            raise Unproven(f"{kind}[{at}] has no certificates")
        if not all(is_strong(one.public_key()) for one in chain):
            raise Unproven(f"a key of {kind}[{at}] is weak, or of no known sort")
        yield Authority(str(entry.get("uri", "")), chain, _span(entry, f"{kind}[{at}]"))


def _span(entry: Json, where: str) -> Span:
    valid = member(entry, "validFor")
    if "start" not in valid:
        raise Unproven(f"{where} does not say since when it is valid")
    return Span(_time(valid["start"]), _time(valid["end"]) if "end" in valid else None)


def _time(text: object) -> datetime:
    """RFC 3339, which protobuf writes with Z."""
    read = datetime.fromisoformat(str(text))
    if read.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return read.astimezone(UTC)
