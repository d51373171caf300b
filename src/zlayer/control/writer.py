"""One deployment read, changed and written back, with its record of revisions and an event, in one guarded commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from zlayer.control.claimed import Claimed, running
from zlayer.model import keys
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.instance import Deployment, Event
from zlayer.model.units import Timestamp
from zlayer.plan.history import describe, revision_of, stale
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, encode
from zlayer.store.revisions import load_notes

_read_deployment = decoder(Deployment)
_ATTEMPTS = 16

Change = Callable[[Deployment | None], Awaitable[Deployment]]
"""The deployment as it is to be; the very same value means that nothing is to be written."""


class DeploymentWriter:
    """The way of every wish into the store. Two at once both count: the second is decided on what the first left."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self.claimed = Claimed(store)
        self._clock = clock

    def now(self) -> Timestamp:
        return Timestamp(self._clock())

    async def load(self, name: str) -> Deployment | None:
        item = await self.store.get(keys.deployment(name))
        return _read_deployment(item.value) if item is not None else None

    async def change(
        self, name: str, change: Change, kind: str, *, what: str = ""
    ) -> tuple[Deployment | None, Deployment]:
        """Before and after. A new revision gets a record that says `what` was changed; `kind` is the event's.

        `Conflict` when it claims ports that another deployment has.
        """
        key = keys.deployment(name)
        for _ in range(_ATTEMPTS):
            item = await self.store.get(key)
            old = _read_deployment(item.value) if item is not None else None
            new = await change(old)
            if new is old:
                return old, new
            puts, deletes = {key: encode(new)}, []
            if old is None or new.revision != old.revision:
                record = revision_of(new, what or describe(old, new), before=old)
                puts[keys.revision(name, new.revision)] = encode(record)
                kept = await load_notes(self.store, name)
                deletes = [keys.revision(name, one.revision) for one in stale(kept)]
            puts |= self._event(kind, new)
            guard = await self.claimed.check(name, running(new), old)
            expect = {key: item.modified if item is not None else 0, **guard.expect}
            try:
                await self.store.commit({**puts, **guard.puts}, deletes, expect=expect)
            except Conflict:
                continue
            return old, new
        raise Conflict(f"deployment {name} keeps changing", hint="try again")

    def following(self, old: Deployment, **changes: object) -> Deployment:
        """The next revision, with these fields changed."""
        own = {"revision": old.revision + 1, "updated_at": self.now(), "rolled_back_from": 0, "reason": ""}
        return old.model_copy(update={**own, **changes})

    def _event(self, kind: str, deployment: Deployment) -> dict[str, bytes]:
        now = self._clock()
        message = f"revision {deployment.revision}"
        event = Event(at=Timestamp(now), kind=kind, deployment=deployment.name, message=message)
        key = f"{keys.EVENTS}{int(now * 1e6):020d}-user-{deployment.name}-{deployment.revision}-{kind}"
        return {key: encode(event)}


def existing(name: str, old: Deployment | None) -> Deployment:
    """`NotFound` for one that is not there, `Conflict` for one that is going."""
    if old is None:
        raise NotFound(f"no deployment {name}", hint="see: zlayer ps")
    return old


def staying(name: str, old: Deployment | None) -> Deployment:
    """`NotFound` for one that is not there, `Conflict` for one that is going."""
    found = existing(name, old)
    if found.desired == "removed":
        raise Conflict(f"deployment {name} is being removed", hint="try again when it is gone")
    return found
