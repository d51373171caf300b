"""Whether an image may run, and why. Part of `image.contract`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrustIdentity:
    """Who may sign without a key: `subject` may have `*`."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """An `[[image.policy]]` of config.toml and where it stands; `keys` are fingerprints by file."""

    match: str
    require: str
    file: str
    line: int
    keys: Mapping[str, str]
    signed_as: tuple[str, ...] = ()
    identities: tuple[TrustIdentity, ...] = ()
    trusted_root: str = ""


@dataclass(frozen=True, slots=True)
class TrustVerified:
    """A signature that holds: which digest a key (its fingerprint, its file) signed. `kind`: simple-signing, bundle.

    Without a key: the subject and who vouched for it, the log and its index, and the time that was proven (RFC 3339).
    """

    kind: str
    digest: str
    key: str
    key_file: str
    found: str
    issuer: str = ""
    subject: str = ""
    log: str = ""
    log_index: int = 0
    signed_at: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether an image may run under a name, and why. `digest`: what was signed, else what the name stands for."""

    reference: str
    digest: str
    local: bool
    allowed: bool
    reason: str
    policy: TrustPolicy | None
    verified: TrustVerified | None
