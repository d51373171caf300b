"""Revisions of a deployment: what one changed in words, which to go back to, and what going back means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from zlayer.model.instance import Deployment, Revision, Service
from zlayer.model.rollout import RevisionNote
from zlayer.model.units import Timestamp
from zlayer.plan.compare import changes

KEEP = 20
"""Revisions kept for each deployment, besides the last good one."""
FEW = 4
"""Fields of a container worth naming."""


def digests(services: Mapping[str, Service]) -> dict[str, str]:
    """What an update is about: of each service its container, and nothing of counts or host names."""
    return {name: service.container.digest() for name, service in services.items()}


def revision_of(deployment: Deployment, what: str, before: Deployment | None = None) -> Revision:
    """The record of a deployment as it is wished now. It is good from the start where no container changed."""
    note = RevisionNote(what=what, reason=deployment.reason)
    rollout = deployment.rollout
    if before is not None and rollout.state == "good" and proven(deployment):
        note = note.model_copy(update={"good": True, "images": rollout.images})
    return Revision(
        name=deployment.name,
        revision=deployment.revision,
        services=deployment.services,
        source=deployment.source,
        at=deployment.updated_at,
        note=note,
    )


def proven(deployment: Deployment) -> bool:
    """Every service of it was found good as it is wished now."""
    return all(deployment.rollout.proven.get(name) == d for name, d in digests(deployment.services).items())


def last_good(revisions: Iterable[Revision], deployment: Deployment) -> Revision | None:
    """The newest good revision with other containers than the deployment wants now."""
    now = digests(deployment.services)
    found = [one for one in revisions if one.note.good and one.revision < deployment.revision]
    found.sort(key=lambda one: -one.revision)
    return next((one for one in found if digests(one.services) != now), None)


class Noted(Protocol):
    """A kept revision's number, and what is known of it."""

    @property
    def revision(self) -> int: ...

    @property
    def note(self) -> RevisionNote: ...


N = TypeVar("N", bound=Noted)


def stale(revisions: Sequence[N]) -> list[N]:
    """Those to forget, once one more is written: all but the newest, and but the last good one."""
    ordered = sorted(revisions, key=lambda one: -one.revision)
    good = next((one for one in ordered if one.note.good), None)
    return [one for one in ordered[KEEP - 1 :] if one is not good]


def reverted(deployment: Deployment, to: Revision, now: Timestamp, **why: object) -> Deployment:
    """The next revision: the services of `to`, by the images they ran with, in the number there is now.

    `why` are fields that tell where it comes from: `reason`, `rolled_back_from`.
    """
    services = {name: _back(service, to, name, deployment.services.get(name)) for name, service in to.services.items()}
    change = {
        "revision": deployment.revision + 1,
        "services": services,
        "source": to.source,
        "updated_at": now,
        "paused": False,
        "rolled_back_from": 0,
        **why,
    }
    return deployment.model_copy(update=change)


def _back(service: Service, to: Revision, name: str, now: Service | None) -> Service:
    image = service.image_digest or to.note.images.get(name, "")
    stopped = now.stopped if now is not None else service.stopped
    change = {"replicas": carried(service, now), "stopped": stopped, "image_digest": image}
    return service.model_copy(update=change)


def carried(service: Service, before: Service | None) -> int:
    """Fixed: the file's. Manual: what it was set to. Adaptive: what it was, within the file's range."""
    if before is None or service.scale_mode == "fixed":
        return service.replicas
    if service.scale_mode == "manual":
        return before.replicas
    return min(max(before.replicas, service.min_replicas), service.max_replicas)


def describe(old: Deployment | None, new: Deployment) -> str:
    """What a wish changed, in words: `web: image a:1 -> a:2, env.KEY; db: 1 -> 2 replicas`. No values but images."""
    if old is None:
        return "first deploy"
    told = []
    if old.desired != new.desired:
        told.append({"running": "started", "stopped": "stopped", "removed": "removed"}[new.desired])
    told += [f"{name}: new service" for name in new.services if name not in old.services]
    told += [f"{name}: no longer in the file" for name in old.services if name not in new.services]
    for name, service in new.services.items():
        if (before := old.services.get(name)) and (words := _differences(before, service)):
            told.append(f"{name}: {', '.join(words)}")
    return "; ".join(told) or "nothing"


def _differences(old: Service, new: Service) -> list[str]:
    words = []
    if old.container.image != new.container.image:
        words.append(f"image {old.container.image} -> {new.container.image}")
    fields = [name for name in changes(old.container, new.container) if name != "image"]
    words += fields[:FEW] + ([f"{len(fields) - FEW} more"] if len(fields) > FEW else [])
    if old.replicas != new.replicas:
        words.append(f"{old.replicas} -> {new.replicas} replicas")
    if old.stopped != new.stopped:
        words.append("stopped" if new.stopped else "started")
    others = ("endpoints", "ports", "depends", "reach", "update", "scale_mode", "min_replicas", "max_replicas")
    return words + [name for name in others if getattr(old, name) != getattr(new, name)]
