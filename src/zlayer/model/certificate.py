"""Certificates as the store holds them, and what getting one takes: an account at a CA and an order in flight.

`/certificates/{name}`, `/acme/orders/{name}` and `/acme/accounts/{id}`. Private keys in them are sealed (encrypted
under the key of the document they stand in), so that a copy of the store opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from zlayer.model.base import Document
from zlayer.model.secret import Secret
from zlayer.model.units import Timestamp

Source = Literal["acme", "self_signed", "files"]
Way = Literal["http-01", "tls-alpn-01"]

LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


class StoredCertificate(Document):
    """A certificate in use or on its way. Key `/certificates/{name}`. Written by the certificate keeper.

    Only `asked_at` is the API's. Until the first success `chain` is empty and `source` is what will be tried.
    A failure changes what is told about the next try, and never the chain and key that work.
    """

    schema_version: int = 1
    name: str
    """The host it was made for, `_default` for endpoints without one; `HOST~DIGEST` for files."""
    names: tuple[str, ...] = ()
    """DNS names and addresses in it (subject alternative names)."""
    source: Source
    chain: str = ""
    """PEM, leaf first."""
    key: str = Field("", repr=False)
    """The private key, PEM, sealed."""
    issuer: str = ""
    """As the certificate has it, for people."""
    authority: str = ""
    """Who made it, exactly: the directory URL, the id of the local CA, or the paths of the files."""
    serial: str = ""
    """Hexadecimal."""
    not_before: Timestamp = Timestamp(0)
    not_after: Timestamp = Timestamp(0)
    issued_at: Timestamp = Timestamp(0)
    renew_at: Timestamp | None = None
    """When the next one is to be had; None for files, which their owner renews."""
    last_error: str = ""
    """Of the last try, empty when it was good."""
    failures: int = 0
    """In a row."""
    tried_at: Timestamp = Timestamp(0)
    next_try: Timestamp | None = None
    """Not before this, after a failure; `asked_at` cuts it short."""
    held_until: Timestamp | None = None
    """The CA said "not before" (Retry-After): nobody cuts this short."""
    asked_at: Timestamp = Timestamp(0)
    """When a user last asked for a new one."""
    note: str = ""
    """What a user should know though nothing failed."""
    users: tuple[str, ...] = ()
    """Backends it is for, or was for last: it stands in while the one they are to have instead is not there yet."""
    advice: str = ""
    """What its owner should do about it, though it is served."""
    warned: bool = False
    """It has been told that it ends soon."""
    unused_since: Timestamp | None = None
    """No endpoint wants it any more; forgotten after a while."""

    @property
    def usable(self) -> bool:
        return bool(self.chain)


class Account(Document):
    """Who we are at one CA. Key `/acme/accounts/{id of the directory URL}`. Kept for ever: a CA counts new ones."""

    schema_version: int = 1
    directory: str
    key: str = Field(repr=False)
    """Private key, PEM, sealed; stored before the CA hears of it, so that no account is ever lost."""
    url: str = ""
    """Empty until the CA has confirmed it."""
    email: str = ""


class Proof(Document):
    """tls-alpn-01 (RFC 8737): what is shown to a CA that asks for one name. `answer` is the key authorisation in it."""

    answer: str
    chain: str
    key: str = Field(repr=False)
    """Private key, PEM, sealed for the order."""


class Order(Document):
    """An order at a CA. Key `/acme/orders/{name of the certificate}`; there is one at most, and it is resumed.

    Whatever has to be undone is written here before it is done.
    """

    schema_version: int = 1
    name: str
    names: tuple[str, ...]
    directory: str
    url: str = ""
    """The CA's; empty until it has taken the order."""
    key: str = Field(repr=False)
    """The certificate's private key, PEM, sealed."""
    started_at: Timestamp
    challenges: dict[str, str] = Field(default_factory=dict)
    """http-01: token -> key authorisation, to be answered by every node's proxy."""
    proofs: dict[str, Proof] = Field(default_factory=dict)
    """tls-alpn-01: by name."""
    records: tuple[tuple[str, str], ...] = ()
    """dns-01: (record name, value) the hook has been told to present, to be cleaned up."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A chain, leaf first, and its private key: PEM both."""

    chain: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Facts:
    """What the leaf of a chain says."""

    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: Timestamp
    not_after: Timestamp


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """Who certificates come from (`[acme]` of config.toml), its terms of service agreed to."""

    email: str
    directory: str = LETSENCRYPT
    ca_file: Path | None = None
    """PEM to trust for the directory's own TLS, instead of the system's."""
    challenge: Way = "http-01"
    """How names that are no wildcards are proved."""
    dns_hook: Path | None = None
    eab_kid: str = ""
    eab_key: Secret = field(default=Secret(""))
    """External account binding (RFC 8555, 7.3.4): base64url as the CA gives it."""
    preferred_chain: str = ""
    """Common name of the root's issuer, where the CA offers several chains."""
