"""Wishes about updates: pause, resume, abort, go back; and the history they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from zlayer.control.writer import DeploymentWriter, staying
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.instance import Deployment, Revision
from zlayer.plan.history import last_good, reverted
from zlayer.store.revisions import load_revisions


@dataclass(frozen=True, slots=True)
class Deployed:
    """`changed` is False when exactly that is wanted already; the revision is then the old one."""

    name: str
    revision: int
    changed: bool


class Updates:
    """Every call is durable when it returns, and survives whatever happens to the daemon; it starts nothing itself."""

    def __init__(self, writer: DeploymentWriter) -> None:
        self._writer = writer

    async def pause(self, name: str) -> Deployed:
        """Nothing more is replaced, admitted or judged until `resume`; what serves goes on, and is kept alive."""

        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            if found.rollout.state != "updating" and not found.paused:
                raise Conflict(f"no update of {name} is under way", hint=f"see: zlayer history {name}")
            return found if found.paused else found.model_copy(update={"paused": True})

        return _done(await self._writer.change(name, change, "deployment.paused"))

    async def resume(self, name: str) -> Deployed:
        """Go on: after `pause`, and to the next step of a canary that waits for somebody's word."""

        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            if not found.paused and found.rollout.state != "updating":
                raise Conflict(f"no update of {name} is under way", hint=f"see: zlayer history {name}")
            return resumed(found, self._writer)

        return _done(await self._writer.change(name, change, "deployment.resumed"))

    async def abort(self, name: str) -> Deployed:
        """Go back to the last good revision now. `Conflict` when no update is under way or there is none to go to."""
        goal = await self.target(name, None)

        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            if found.rollout.state not in ("updating", "failed"):
                raise Conflict(f"no update of {name} is under way", hint=f"see: zlayer history {name}")
            return reverted(found, goal, self._writer.now(), reason=f"revision {found.revision} was aborted")

        what = f"back to revision {goal.revision}"
        return _done(await self._writer.change(name, change, "deployment.aborted", what=what))

    async def rollback(self, name: str, revision: int | None = None, *, expect: int | None = None) -> Deployed:
        """Go back to a revision, else to the last good one before this, with the images it ran.

        `expect` is the revision a plan was made on. Where the same is wanted already nothing changes.
        """
        goal = await self.target(name, revision)

        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            if expect is not None and expect != found.revision:
                raise Conflict(
                    f"deployment {name} is at revision {found.revision}, the plan was made on {expect}",
                    hint="plan again",
                )
            back = reverted(found, goal, self._writer.now(), desired="running", stop_grace=None)
            same = back.services == found.services and found.desired == "running"
            return found if same else back.model_copy(update={"reason": f"rolled back to revision {goal.revision}"})

        what = f"back to revision {goal.revision}"
        return _done(await self._writer.change(name, change, "deployment.updated", what=what))

    async def target(self, name: str, revision: int | None) -> Revision:
        """The revision that is meant. `NotFound` when it is not kept, or when there is no good one to go back to."""
        found = staying(name, await self._writer.load(name))
        kept = {number: one.value for number, one in (await load_revisions(self._writer.store, name)).items()}
        if revision is not None:
            if revision not in kept:
                known = ", ".join(map(str, kept)) or "none"
                raise NotFound(f"{name} has no revision {revision}", hint=f"kept are: {known}")
            return kept[revision]
        good = last_good(kept.values(), found)
        if good is None:
            raise NotFound(
                f"{name} has no earlier good revision", hint=f"name one: zlayer history {name} lists what is kept"
            )
        return good

    async def back(self, name: str, revision: int | None) -> tuple[Deployment, Deployment]:
        """What is wanted now and what `rollback` would make of it. Writes nothing."""
        goal = await self.target(name, revision)
        found = staying(name, await self._writer.load(name))
        return found, reverted(found, goal, self._writer.now())

    async def history(self, name: str) -> list[tuple[Revision, str]]:
        """The kept revisions, newest first, each with its status in a word."""
        found = await self._writer.load(name)
        if found is None:
            raise NotFound(f"no deployment {name}", hint="see: zlayer ps")
        kept = await load_revisions(self._writer.store, name)
        return [(one.value, standing(one.value, found)) for _, one in sorted(kept.items(), reverse=True)]


def standing(revision: Revision, now: Deployment) -> str:
    """current, updating, failed, rolled back, good, or superseded: replaced before it was found good."""
    note = revision.note
    if revision.revision == now.revision:
        return now.rollout.state if now.rollout.state in ("updating", "failed") and not note.good else "current"
    if note.failed:
        return "rolled back" if note.rolled_back else "failed"
    return "good" if note.good else "superseded"


def resumed(found: Deployment, writer: DeploymentWriter) -> Deployment:
    return found.model_copy(
        update={"paused": False, "resumes": found.resumes + 1, "resumed_at": writer.now()},
    )


def _done(change: tuple[Deployment | None, Deployment]) -> Deployed:
    before, after = change
    return Deployed(after.name, after.revision, before is not after)
