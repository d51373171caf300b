"""Any store driver against a tiny model, by Hypothesis: the same random calls must give the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from zlayer.model.errors import Compacted, Conflict, Unavailable
from zlayer.store.contract import Changes, Item, Lease
from zlayer.testing.contracts.store import Reopen, following

T = TypeVar("T")

KEYS = st.sampled_from(["/a", "/a/b", "/a/c", "/ab", "/b", "/b/~"])
PREFIXES = st.sampled_from(["/", "/a", "/a/", "/b/", "/none"])
VALUES = st.integers(0, 99).map(lambda number: b"%d" % number)
FOREVER = 3600.0


@dataclass
class Model:
    """The store in fifty lines: every revision's whole state."""

    states: list[dict[str, Item]] = field(default_factory=lambda: [{}])
    owners: dict[str, int] = field(default_factory=dict)
    floor: int = 1

    @property
    def now(self) -> dict[str, Item]:
        return self.states[-1]

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def modified(self, key: str) -> int:
        return self.now[key].modified if key in self.now else 0

    def commit(self, puts: dict[str, bytes], deletes: set[str], lease: int | None) -> int:
        state, revision = dict(self.now), self.revision + 1
        for key in deletes:
            state.pop(key, None)
            self.owners.pop(key, None)
        for key, value in puts.items():
            created = state[key].created if key in state else revision
            state[key] = Item(key, value, created, revision)
            self.owners.pop(key, None)
            if lease is not None:
                self.owners[key] = lease
        self.states.append(state)
        return revision

    def end(self, lease: int) -> None:
        keys = {key for key, owner in self.owners.items() if owner == lease}
        if keys:
            self.commit({}, keys, None)

    def changed(self, prefix: str, after: int, upto: int) -> dict[str, Item | None]:
        """What a watcher that saw `after` must be told to be at `upto`."""
        keys = set()
        for before, then in zip(self.states[after:upto], self.states[after + 1 : upto + 1], strict=True):
            keys |= {key for key in before.keys() | then.keys() if before.get(key) != then.get(key)}
        return {key: self.states[upto].get(key) for key in keys if key.startswith(prefix)}


@dataclass(eq=False)
class Follower:
    stream: AsyncGenerator[Changes, None]
    prefix: str
    position: int
    store: int
    started: bool = False


class StoreMachine(RuleBasedStateMachine):
    """Subclass with `storage`: a context manager that gives the `reopen` function of fresh, empty storage."""

    storage: ClassVar[Callable[[], AbstractContextManager[Reopen]]]

    leases = Bundle("leases")
    followers = Bundle("followers")

    def __init__(self) -> None:
        super().__init__()
        self.exits = ExitStack()
        self.loop = self.exits.enter_context(asyncio.Runner())
        self.reopen = self.exits.enter_context(type(self).storage())
        self.model = Model()
        self.opened = 0
        self.store = self.reopen()
        self.run(self.store.__aenter__())

    def run(self, call: Coroutine[Any, Any, T]) -> T:  # Any: what a coroutine yields and is sent is the loop's
        return self.loop.run(call)

    def teardown(self) -> None:
        self.run(self.store.__aexit__())
        self.exits.close()

    @initialize(target=followers, puts=st.dictionaries(KEYS, VALUES), prefix=PREFIXES)
    def begin(self, puts: dict[str, bytes], prefix: str) -> Follower:
        self.put([puts])
        return self.watch(prefix, age=1)

    @rule(batches=st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=4))
    def put(self, batches: list[dict[str, bytes]]) -> None:
        for puts in batches:
            assert self.run(self.store.commit(puts)) == self.model.commit(puts, set(), None)

    @rule(
        puts=st.dictionaries(KEYS, VALUES, max_size=3),
        deletes=st.sets(KEYS, max_size=3),
        guards=st.dictionaries(KEYS, st.sampled_from([0, 0, 0, -1, 1]), max_size=3),
    )
    def guarded(self, puts: dict[str, bytes], deletes: set[str], guards: dict[str, int]) -> None:
        """`guards` are offsets from the right revision: 0 holds."""
        deletes -= set(puts)
        expect = {key: max(0, self.model.modified(key) + off) for key, off in guards.items()}
        fits = all(wanted == self.model.modified(key) for key, wanted in expect.items())
        try:
            revision = self.run(self.store.commit(puts, sorted(deletes), expect))
        except Conflict:
            assert not fits
        else:
            assert fits
            assert revision == self.model.commit(puts, deletes, None)

    @rule(batches=st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=2), min_size=2, max_size=5))
    def concurrent(self, batches: list[dict[str, bytes]]) -> None:
        async def commit_all() -> list[int]:
            return await asyncio.gather(*(self.store.commit(batch) for batch in batches))

        revisions = self.run(commit_all())
        first = self.model.revision + 1
        assert sorted(revisions) == list(range(first, first + len(batches)))
        for _, batch in sorted(zip(revisions, batches, strict=True), key=lambda pair: pair[0]):
            self.model.commit(batch, set(), None)

    @rule(target=leases)
    def hold(self) -> tuple[int, Lease]:
        lease = self.store.hold("model", FOREVER)
        self.run(lease.__aenter__())
        return self.opened, lease

    @rule(held=leases, puts=st.dictionaries(KEYS, VALUES, max_size=3))
    def put_leased(self, held: tuple[int, Lease], puts: dict[str, bytes]) -> None:
        opened, lease = held
        if opened == self.opened:
            assert self.run(self.store.commit(puts, lease=lease)) == self.model.commit(puts, set(), lease.id)

    @rule(held=consumes(leases))
    def end(self, held: tuple[int, Lease]) -> None:
        opened, lease = held
        if opened == self.opened:
            self.run(lease.__aexit__())
            self.model.end(lease.id)

    @rule(before=st.integers(0, 40))
    def compact(self, before: int) -> None:
        self.run(self.store.compact(before))
        self.model.floor = max(self.model.floor, min(before, self.model.revision + 1))

    @rule()
    def restart(self) -> None:
        self.run(self.store.__aexit__())
        self.opened += 1
        self.store = self.reopen()
        self.run(self.store.__aenter__())

    @rule(target=followers, prefix=PREFIXES, age=st.integers(0, 20))
    def open_watch(self, prefix: str, age: int) -> Follower:
        return self.watch(prefix, age)

    def watch(self, prefix: str, age: int) -> Follower:
        after = max(0, self.model.revision - age)
        return Follower(self.store.watch(prefix, after), prefix, after, self.opened)

    @rule(target=followers, follower=consumes(followers))
    def follow(self, follower: Follower) -> Any:  # Any: `multiple` is how a bundle takes nothing
        """Read until it has seen all there is; what comes must be whole commits, none twice, none left out."""
        while owed := self.model.changed(follower.prefix, follower.position, self.model.revision):
            try:
                found = self.run(following(follower.stream))
            except Unavailable:
                assert follower.store != self.opened
                return multiple()
            except Compacted:
                assert not follower.started
                assert follower.position + 1 < self.model.floor
                return multiple()
            assert follower.position < found.revision <= self.model.revision
            assert follower.started or follower.position + 1 >= self.model.floor
            told = {change.key: change.item for change in found.changes}
            assert told == self.model.changed(follower.prefix, follower.position, found.revision)
            assert len(told) == len(found.changes) <= len(owed)
            follower.position, follower.started = found.revision, True
        return follower

    @rule(prefix=PREFIXES, key=KEYS)
    def read(self, prefix: str, key: str) -> None:
        assert self.run(self.store.get(key)) == self.model.now.get(key)
        listing = self.run(self.store.list(prefix))
        assert listing.revision == self.model.revision
        assert listing.items == tuple(item for key, item in sorted(self.model.now.items()) if key.startswith(prefix))

    @invariant()
    def same_state(self) -> None:
        assert self.run(self.store.list("/")).items == tuple(item for _, item in sorted(self.model.now.items()))
