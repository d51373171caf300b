"""A signature without a key of one's own: made under a certificate that lived for minutes, and written into a log.

Everything is judged at the time that a log or a timestamp authority has signed, never by this machine's clock, and with
what the policy's trusted root says; nothing is fetched.
Source: Sigstore's client specification, "Verification".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zlayer.image import keyless_cert as certificates
from zlayer.image.keyless_body import Subject, check_about
from zlayer.image.keyless_log import Entry, check_included, entry_of, log_of, promised
from zlayer.image.keyless_signature import is_signed
from zlayer.image.keyless_time import time_of
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_json import Json, Unproven, decoded, listed, member
from zlayer.image.trust_root import Root

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MOST_ENTRIES, MOST_TIMES = 8, 8


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed, and which log says so. `time`: the earliest that was proven, RFC 3339."""

    issuer: str
    subject: str
    log: str
    log_index: int
    time: str


def verify_keyless(
    material: Json, message: bytes, signature: bytes, payload: bytes | None, *, root: Root, allowed: Sequence[Identity]
) -> Signed:
    """Who signed `message`, as `trust_material` found it. `payload`: of a DSSE envelope. Errors: `Unproven`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import DuplicateExtension, InvalidVersion

    try:
        der = decoded(material.get("certificate"))
        certificate = certificates.load(der)
        if not is_signed(certificate.public_key(), signature, message):
            raise Unproven("is not by the key of its certificate, or is broken")
        entry, times = _logged(material, Subject(der, signature, message, payload), root)
        issuer = certificates.issuer_of(certificate, root, times)
        certificates.check_use(certificate, certificates.CODE_SIGNING)
        certificates.check_published(certificate, issuer, root)
        return _named(certificate, entry, min(times), root, allowed)
    except (ValueError, TypeError, OverflowError, DuplicateExtension, InvalidVersion, UnsupportedAlgorithm) as fault:
        raise Unproven(f"has a certificate that cannot be read: {str(fault)[:200]}") from None


def _logged(material: Json, subject: Subject, root: Root) -> tuple[Entry, list[datetime]]:
    """The first entry, when all are proven, and every proven time."""
    documents, tokens = listed(material, "entries"), material.get("timestamps", [])
    if not documents:
        raise Unproven("is in no transparency log")
    if len(documents) > MOST_ENTRIES or not isinstance(tokens, list) or len(tokens) > MOST_TIMES:
        raise Unproven(f"has more than {MOST_ENTRIES} log entries or timestamps")
    times, entries = [], []
    for document in documents:
        entry = entry_of(document)
        told = document.get("kindVersion", {})
        named = member(document, "kindVersion") if told else {}
        check_about(decoded(entry.body), str(named.get("kind", "")), str(named.get("version", "")), subject)
        times += _proven(entry, root, proof_wanted=bool(material.get("proof_wanted")))
        entries.append(entry)
    broken = ""
    for token in tokens:
        try:
            times.append(time_of(decoded(token), subject.signature, root))
        except Unproven as why:
            broken = str(why)
    if not times:
        raise Unproven(broken or "has no signed time: neither a promise of the log (SET) nor a timestamp (RFC 3161)")
    for entry in entries:
        log = log_of(entry, root)
        if not all(log.valid.has(time) for time in times):
            raise Unproven(f"is in the log {log.name} at a time when it is not to be believed by the trusted root")
    return entries[0], times


def _proven(entry: Entry, root: Root, *, proof_wanted: bool) -> list[datetime]:
    """Whatever the log says is looked at; one word of it is enough, unless the format promises a proof."""
    log = log_of(entry, root)
    if not entry.promise and entry.proof is None:
        raise Unproven("has neither a promise of the log (SET) nor a proof of inclusion")
    times = [promised(entry, log)] if entry.promise else []
    if entry.proof is None and proof_wanted:
        raise Unproven("has no proof that it is in the log, which its format demands")
    if entry.proof is not None and (proof_wanted or not times or "checkpoint" in entry.proof):
        check_included(entry, log)
    return times


def _named(certificate: Certificate, entry: Entry, time: datetime, root: Root, allowed: Sequence[Identity]) -> Signed:
    issuer, subject = certificates.named(certificate)
    if not any(one.covers(issuer, subject) for one in allowed):
        raise Unproven(f"is by {subject}, for whom {issuer} vouched: no identity of the policy")
    text = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Signed(issuer, subject, log_of(entry, root).name, entry.index, text)
