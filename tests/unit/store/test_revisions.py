"""What is known of kept revisions, read without what they were."""

from __future__ import annotations

from zlayer.model import keys
from zlayer.model.instance import Revision
from zlayer.model.rollout import RevisionNote
from zlayer.model.units import Timestamp
from zlayer.plan.history import KEEP, stale
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.revisions import load_notes, load_revisions
from zlayer.testing.builders import service
from zlayer.testing.clock import run


def revision(number: int, *, good: bool = False) -> Revision:
    note = RevisionNote(good=good, what=f"change {number}")
    return Revision(name="shop", revision=number, services={"web": service()}, at=Timestamp(number), note=note)


def test_notes_are_those_of_the_whole_documents() -> None:
    async def body() -> None:
        made = [revision(number, good=number == 2) for number in range(1, KEEP + 5)]
        async with MemoryStore() as store:
            await store.commit({keys.revision(one.name, one.revision): encode(one) for one in made})
            notes = await load_notes(store, "shop")
            whole = await load_revisions(store, "shop")
        assert {one.revision: one.note for one in notes} == {n: kept.value.note for n, kept in whole.items()}
        gone = {one.revision for one in stale(notes)}
        assert gone == {one.revision for one in stale([kept.value for kept in whole.values()])}
        assert 2 not in gone, "the last good one stays"
        assert len(notes) - len(gone) == KEEP

    run(body)
