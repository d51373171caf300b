"""What every driver refuses at its door: a batch that reaches the writer can only conflict or find no space."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zlayer.model.errors import Conflict, Invalid, Problem
from zlayer.store.contract import Lease

MAX_KEY = 1024
"""Characters in a key."""
MAX_VALUE = 1 << 20
"""Bytes in a value: what etcd takes by default, with room for the rest of its request."""

_KEY = re.compile(r"/[ -~]*")


@dataclass(frozen=True, slots=True)
class Batch:
    """One checked commit. `lease` is a lease's id."""

    puts: Mapping[str, bytes]
    deletes: tuple[str, ...]
    expect: Mapping[str, int]
    lease: int | None = None

    def touched(self) -> set[str]:
        return {*self.puts, *self.deletes, *self.expect}


def checked(
    puts: Mapping[str, bytes] | None,
    deletes: Sequence[str],
    expect: Mapping[str, int] | None,
    lease: Lease | None,
) -> Batch:
    """A private copy of a commit's arguments; `Invalid` with every fault when one cannot be stored."""
    batch = Batch(dict(puts or {}), tuple(dict.fromkeys(deletes)), dict(expect or {}), lease.id if lease else None)
    problems = tuple(Problem(message) for message in _faults(batch))
    if problems:
        raise Invalid(
            problems[0].message,
            hint="keys are printable ASCII starting with '/', values UTF-8 JSON of at most 1 MiB",
            problems=problems,
        )
    return batch


def check_prefix(prefix: str) -> None:
    if not _valid_key(prefix):
        raise Invalid(f"not a key prefix: {prefix[:80]!r}", hint="a prefix starts with '/'; '/' alone means everything")


def refuse_unexpected(expect: Mapping[str, int], modified: Mapping[str, int]) -> None:
    """`Conflict` naming the first key whose revision is not the expected one; an absent key counts as 0."""
    for key, wanted in expect.items():
        found = modified.get(key, 0)
        if found != wanted:
            state = f"is at revision {found}" if found else "does not exist"
            raise Conflict(
                f"{key} {state}, not at {wanted}" if wanted else f"{key} already exists (revision {found})",
                hint="someone else wrote it first: read again and decide again",
            )


def _faults(batch: Batch) -> Iterator[str]:
    for key in batch.touched():
        if not _valid_key(key):
            yield f"not a key: {key[:80]!r}"
    for key, value in batch.puts.items():
        if not isinstance(value, bytes):
            yield f"the value of {key} is {type(value).__name__}, not bytes"
        elif len(value) > MAX_VALUE:
            yield f"the value of {key} has {len(value)} bytes, more than {MAX_VALUE}"
        elif not _is_text(value):
            yield f"the value of {key} is not UTF-8"
    for key in batch.deletes:
        if key in batch.puts:
            yield f"{key} is both put and deleted"
    if batch.lease is not None and batch.lease < 1:
        yield "the lease is not held: enter it before committing with it"


def _valid_key(key: str) -> bool:
    return len(key) <= MAX_KEY and _KEY.fullmatch(key) is not None


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
