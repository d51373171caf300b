"""The verdicts on changes, taken to the store: a revision found good, one that failed, and the way back from it.

All of it goes into the turn's one commit, guarded by the deployment's document: a roll-back happens once or not at
all, however often a controller is killed between two commits, and a user's newer wish wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zlayer.model import keys
from zlayer.model.instance import Deployment, Event
from zlayer.model.rollout import Rollout
from zlayer.model.units import Timestamp
from zlayer.plan.history import last_good, reverted, revision_of
from zlayer.plan.seen import Seen
from zlayer.plan.update.look import Look, Looks, looks
from zlayer.plan.update.verdict import review
from zlayer.store.contract import Store
from zlayer.store.documents import encode
from zlayer.store.revisions import Kept, load_revisions


@dataclass(slots=True)
class Reviewed:
    """The deployment as it is to be from here on, its services as looked at, and the writes that make it so."""

    deployment: Deployment
    looks: Mapping[str, Look]
    wake_at: float | None = None
    puts: dict[str, bytes] = field(default_factory=dict)
    expect: dict[str, int] = field(default_factory=dict)

    def event(self, kind: str, message: str, now: float, *, service: str = "", instance: str = "") -> None:
        name = self.deployment.name
        told = Event(at=Timestamp(now), kind=kind, deployment=name, service=service, instance=instance, message=message)
        self.puts[f"{keys.EVENTS}{int(now * 1e6):020d}-{kind}-{name}"] = encode(told)

    def amend(self, kept: Kept | None, **note: object) -> None:
        """Add to what is known of a revision; nothing when it is no longer kept."""
        if kept is None:
            return
        key = keys.revision(kept.value.name, kept.value.revision)
        change = {"note": kept.value.note.model_copy(update=note)}
        self.puts[key] = encode(kept.value.model_copy(update=change))
        self.expect[key] = kept.modified


async def reviewed(
    store: Store, deployment: Deployment, groups: Mapping[str, Sequence[Seen]], now: float, before: Looks
) -> Reviewed:
    """Look at the change of a deployment. Reads the store only when there is a verdict; writes nothing."""
    seen = before.at(deployment, groups, now)
    found = review(deployment, seen, now)
    if found.rollout == deployment.rollout:
        return Reviewed(deployment, seen, found.wake_at)
    after = deployment.model_copy(update={"rollout": found.rollout})
    done = Reviewed(after, seen, found.wake_at)
    if found.rollout.state != deployment.rollout.state:
        await _told(store, done, deployment.rollout, now)
    done.puts[keys.deployment(deployment.name)] = encode(done.deployment)
    done.looks = looks(done.deployment, groups, now)
    return done


async def _told(store: Store, done: Reviewed, before: Rollout, now: float) -> None:
    """What follows from a new state."""
    rollout, number = done.deployment.rollout, done.deployment.revision
    match rollout.state:
        case "updating" if rollout.proven:
            done.event("deployment.updating", f"revision {number}", now)
        case "good" if before.state == "updating":
            kept = await load_revisions(store, done.deployment.name)
            done.amend(kept.get(number), good=True, images=rollout.images)
            done.event("deployment.good", f"revision {number}", now)
        case "failed":
            await _failed(store, done, now)
        case _:
            pass


async def _failed(store: Store, done: Reviewed, now: float) -> None:
    """Told, noted, and undone where the service says so and there is something to go back to."""
    deployment, rollout = done.deployment, done.deployment.rollout
    name = rollout.reason.partition(":")[0]
    done.event("deployment.failed", rollout.reason, now, service=name, instance=rollout.culprit)
    kept = await load_revisions(store, deployment.name)
    service = deployment.services.get(name)
    wanted = service is not None and service.update.rollback and not deployment.rolled_back_from
    good = last_good((one.value for one in kept.values()), deployment) if wanted else None
    done.amend(kept.get(deployment.revision), failed=rollout.reason, rolled_back=good is not None)
    if good is None:
        return
    back = reverted(
        deployment, good, Timestamp(now), rolled_back_from=deployment.revision, reason=f"rolled back: {rollout.reason}"
    )
    state = rollout.model_copy(update={"state": "good", "digests": {}, "canaries": {}})
    done.deployment = back.model_copy(update={"rollout": state})
    record = revision_of(done.deployment, f"back to revision {good.revision}", before=deployment)
    key = keys.revision(back.name, back.revision)
    done.puts[key], done.expect[key] = encode(record), 0
    message = f"revision {deployment.revision} is undone, {back.revision} is as {good.revision} was: {rollout.reason}"
    done.event("deployment.rolled_back", message, now, service=name, instance=rollout.culprit)
