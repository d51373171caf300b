"""A transparency log's word about an entry: its promise (SET), or a proof that it is in a tree the log has signed.

Sources: RFC 6962 2.1 and RFC 9162 2.1.3 (Merkle trees), C2SP tlog-checkpoint and signed-note, Rekor's LogEntry (the SET
is over the canonical JSON of body, integratedTime, logID and logIndex).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from zlayer.image.keyless_signature import is_signed
from zlayer.image.trust_json import Json, Unproven, decoded, member, number
from zlayer.image.trust_root import Log, Root

MOST_HASHES = 64
MAX_CHECKPOINT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """What is claimed to be in a log. `promise`: the SET; `proof`: the inclusion proof as JSON, as it came."""

    log_id: bytes
    index: int
    integrated: int
    body: str
    promise: bytes
    proof: Json | None


def entry_of(document: Json) -> Entry:
    """From a bundle's `tlogEntries`. Errors: `Unproven`."""
    promise = document.get("inclusionPromise")
    proof = document.get("inclusionProof")
    if proof is not None and not isinstance(proof, dict):
        raise Unproven("has an inclusion proof that is none")
    body = document.get("canonicalizedBody")
    decoded(body)
    return Entry(
        decoded(member(document, "logId").get("keyId")),
        number(document.get("logIndex", 0), "log index"),
        number(document.get("integratedTime", 0), "time of the log"),
        str(body),
        decoded(promise.get("signedEntryTimestamp")) if isinstance(promise, dict) else b"",
        proof,
    )


def log_of(entry: Entry, root: Root) -> Log:
    """Errors: `Unproven`."""
    for log in root.logs:
        if log.key_id == entry.log_id:
            return log
    raise Unproven(f"is in a transparency log that the trusted root does not name ({entry.log_id.hex()[:16]})")


def promised(entry: Entry, log: Log) -> datetime:
    """The time the log put under its promise. Errors: `Unproven`."""
    document = {
        "body": entry.body,
        "integratedTime": entry.integrated,
        "logID": entry.log_id.hex(),
        "logIndex": entry.index,
    }
    message = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if not is_signed(log.key, entry.promise, message):
        raise Unproven("has a promise of the log (SET) that is broken, or for another entry")
    try:
        return datetime.fromtimestamp(entry.integrated, UTC)
    except (ValueError, OverflowError, OSError):
        raise Unproven("has no proper time of the log") from None


def check_included(entry: Entry, log: Log) -> None:
    """That the entry is in the tree of the checkpoint. Errors: `Unproven`."""
    proof = entry.proof or {}
    envelope = member(proof, "checkpoint").get("envelope")
    if not isinstance(envelope, str) or len(envelope) > MAX_CHECKPOINT:
        raise Unproven("has an inclusion proof without a checkpoint")
    size, root_hash = _checkpoint(envelope, log)
    hashes = proof.get("hashes", [])
    if not isinstance(hashes, list) or len(hashes) > MOST_HASHES:
        raise Unproven("has an inclusion proof that is none")
    index = number(proof.get("logIndex", 0), "index in the tree")
    if number(proof.get("treeSize", 0), "size of the tree") != size or decoded(proof.get("rootHash")) != root_hash:
        raise Unproven("has an inclusion proof for another tree than its checkpoint")
    path = [decoded(one) for one in hashes]
    leaf = hashlib.sha256(b"\0" + decoded(entry.body)).digest()
    if _root(leaf, index, size, path) != root_hash:
        raise Unproven("has an inclusion proof that does not lead to the root of the tree")


def _checkpoint(envelope: str, log: Log) -> tuple[int, bytes]:
    """Size and root hash of the tree that the log has signed."""
    text, blank, signatures = envelope.rpartition("\n\n")
    signed, lines = f"{text}\n".encode(), text.split("\n")
    if not blank or len(lines) < 3:
        raise Unproven("has a checkpoint that is none")
    for line in signatures.splitlines():
        mark, _, rest = line.partition(" ")
        _name, _, encoded = rest.rpartition(" ")
        if mark != "\N{EM DASH}":
            raise Unproven("has a checkpoint that is none")
        raw = decoded(encoded)
        if raw[:4] == log.key_id[:4] and is_signed(log.key, raw[4:], signed):
            return number(lines[1], "size of the tree"), decoded(lines[2])
    raise Unproven("has a checkpoint that the log did not sign")


def _root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """RFC 9162 2.1.3.2. Empty when the proof has another length than the tree."""
    if index >= size:
        return b""
    node, last, found = index, size - 1, leaf
    for beside in path:
        if last == 0 or len(beside) != 32:
            return b""
        if node & 1 or node == last:
            found = hashlib.sha256(b"\1" + beside + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + beside).digest()
        node, last = node >> 1, last >> 1
    return found if last == 0 else b""
