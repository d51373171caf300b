"""The state store: small JSON documents under ordered keys, one revision for all of it.

Designed for what etcd guarantees, so that SQLite (one machine), etcd (many) and the memory store (tests) are
interchangeable. Values are UTF-8 JSON of at most 1 MiB; keys are printable ASCII starting with `/`, at most 1,024 long.

Guarantees
- Revisions: one counter for the whole store, +1 per successful `commit` however many keys it touches.
- Atomic: a commit's puts and deletes become visible together, or not at all.
- Strict serialisable: a `get`, `list` or `commit` that starts after a commit returned sees it.
- Durable: when `commit` returns a revision, that state survives kill -9 and power loss.
- Watches: every change after the given revision, in revision order, each exactly once, a commit never split.

Errors: `Unavailable` (closed, no quorum), `Exhausted` (disk full; nothing was written), `Invalid` (bad key or value),
`Corrupt` (the file is damaged; the message says how to restore).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """`created` and `modified` are the revisions of the first put since the key last did not exist, and of the last."""

    key: str
    value: bytes
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class Listing:
    """All items below a prefix, in key order, as they were together at `revision`."""

    items: tuple[Item, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """`item` is None for a deletion."""

    key: str
    item: Item | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything one or more successive commits did below the prefix; `revision` is the latest of them."""

    revision: int
    changes: tuple[Change, ...]


class Lease(Protocol):
    """Keys put with a lease are deleted, in one commit, when it ends: closed, or not renewed for `ttl` seconds.

    An async context manager. Renewal is the driver's business while the context is open. `id` is unique in the
    store's lifetime and grows, so it serves as a fencing token.
    """

    id: int

    async def __aenter__(self) -> Lease: ...
    async def __aexit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """An async context manager: entering opens, leaving closes (pending commits are finished or refused)."""

    async def __aenter__(self) -> Store: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def get(self, key: str) -> Item | None: ...

    async def list(self, prefix: str) -> Listing: ...

    async def commit(
        self,
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        expect: Mapping[str, int] | None = None,
        lease: Lease | None = None,
    ) -> int:
        """Apply a batch and return its revision. Deleting an absent key is no error.

        `expect` maps keys to the `modified` revision they must have, 0 meaning "does not exist". Where one differs
        nothing is applied and `Conflict` is raised: drop the plan, look again. A batch that deletes only absent keys
        and puts nothing still takes a revision. A key both put and deleted is `Invalid`.
        """
        ...

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        """Changes below `prefix` with revision > `after`, then live ones, for ever.

        Raises `Compacted` when changes after `after` are no longer kept: list again and watch from there. Slow
        readers are not waited for: they may get several commits in one `Changes`, in which a key that changed
        several times appears once, with its last state. Closing the iterator ends the watch.
        """
        ...

    async def compact(self, before: int) -> None:
        """Forget history of revisions < `before`. Current values are not touched. Idempotent."""
        ...

    def hold(self, name: str, ttl: float) -> Lease:
        """A lease for the life of the returned context; `ttl` in seconds. `name` is for people and logs."""
        ...
