"""Whether a change of containers is good, has failed, or goes on. Pure: the next state from what is seen.

A change is on trial where there is something to go back to. A first deploy is not: its replicas are started again
for as long as they are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zlayer.model.instance import Deployment, State
from zlayer.model.rollout import CanaryStep, Rollout
from zlayer.plan.restart import asked_again, describe_end, judge
from zlayer.plan.seen import Seen
from zlayer.plan.update import canary
from zlayer.plan.update.look import Look


@dataclass(frozen=True, slots=True)
class Review:
    """`wake_at` is when the state would change though nothing is seen anew."""

    rollout: Rollout
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a revision has failed, and the instance to look at."""

    reason: str
    culprit: str = ""


def review(deployment: Deployment, seen: Mapping[str, Look], now: float) -> Review:
    """The state of the change as it is now. Only `rollout` of the deployment is to be changed by it."""
    before = deployment.rollout
    if deployment.desired != "running":
        return Review(before)
    subject = {name: look.digest for name, look in seen.items()}
    unproven = [look for look in seen.values() if look.wanted and not look.proven]
    if not unproven:
        return Review(_settled(before, subject))
    anew = before.digests != subject or before.state in ("new", "good")
    if anew or (before.state == "failed" and before.asked_at != deployment.asked_at):
        return Review(
            Rollout(
                state="updating", digests=subject, since=now, asked_at=deployment.asked_at,
                proven=before.proven, images=before.images,
            ),
            now,
        )  # fmt: skip
    if before.state == "failed" or deployment.paused:
        return Review(before)
    return _judged(deployment, unproven, now)


def _settled(before: Rollout, subject: dict[str, str]) -> Rollout:
    """Nothing on trial: everything wanted was found good before."""
    proven = {name: digest for name, digest in before.proven.items() if name in subject}
    images = {name: image for name, image in before.images.items() if name in subject}
    if before.state == "good" and before.digests == subject and before.proven == proven:
        return before
    return Rollout(state="good", digests=subject, since=before.since, proven=proven, images=images)


def _judged(deployment: Deployment, unproven: list[Look], now: float) -> Review:
    before = deployment.rollout
    contested = [look for look in unproven if look.contested]
    for look in contested:
        if found := failure(look):
            return Review(failed(before, found, now))
    canaries, ends = _canaries(contested)
    going = before if canaries == before.canaries else before.model_copy(update={"canaries": canaries})
    if all(look.complete and not canary.under_way(look) for look in unproven):
        return Review(_good(going, unproven, now))
    ends += [at for look in unproven for at in _trials(look) if at > now]
    late, deadline = _late(deployment, contested, now)
    if late is not None:
        return Review(failed(going, late, now))
    return Review(going, min([*ends, *deadline], default=None))


def failed(before: Rollout, found: Failure, now: float) -> Rollout:
    change = {"state": "failed", "reason": found.reason, "culprit": found.culprit, "since": now}
    return before.model_copy(update=change)


def _good(before: Rollout, found: list[Look], now: float) -> Rollout:
    images = dict(before.images)
    for look in found:
        ran = [one.newest.status for one in look.slots if one.newest is not None]
        images[look.name] = next((status.image_digest for status in ran if status and status.image_digest), "")
    proven = {**before.proven, **{look.name: look.digest for look in found}}
    kept = before.digests.keys()
    return Rollout(
        state="good",
        digests=before.digests,
        since=now,
        proven={name: digest for name, digest in proven.items() if name in kept},
        images={name: image for name, image in images.items() if name in kept and image},
    )


def failure(look: Look) -> Failure | None:
    """What is wrong with a replica on trial, so that there is no sense in going on."""
    for slot in look.slots:
        one = slot.newest
        if one is None or asked_again(one, look.deployment.asked_at):
            continue
        if why := _ended(look, one) if one.ended else _sick(look, one):
            return Failure(f"{look.name}: replica {slot.number} {why}", one.id)
    return None


def _ended(look: Look, one: Seen) -> str:
    verdict, end = judge(one), describe_end(one)
    status = one.status
    assert status is not None
    if status.ready_at is not None and status.finished_at is not None and _by_itself(one):
        lived = status.finished_at - status.ready_at
        if 0 <= lived < look.service.update.min_ready and one.instance.admitted_at is None:
            return f"ended {lived:.1f} s after it was ready: {end}"
    if verdict.at is None:
        return f"will not come back: {verdict.reason}"
    return f"ended {verdict.failures} times in a row: {end}" if verdict.failures > 1 else ""


def _by_itself(one: Seen) -> bool:
    """It is known how it ended: a reboot, or a monitor that was killed, says nothing about the revision."""
    return one.status is not None and (one.status.exit_code is not None or one.state is State.FAILED)


def _sick(look: Look, one: Seen) -> str:
    status = one.status
    if one.instance.failures > 1 and not one.ready:
        return f"keeps ending ({one.instance.failures} times in a row)"
    if status is None or status.health != "unhealthy" or status.ready_at is None:
        return ""
    young = look.now - status.ready_at < look.service.update.min_ready
    if one.instance.held or (young and one.instance.admitted_at is None):
        return f"became unhealthy before it had been ready for {look.service.update.min_ready:g} s: {status.reason}"
    return ""


def _canaries(contested: list[Look]) -> tuple[dict[str, CanaryStep], list[float]]:
    steps: dict[str, CanaryStep] = {}
    ends: list[float] = []
    for look in contested:
        if canary.applies(look):
            steps[look.name], end = canary.advance(look)
            if end is not None:
                ends.append(end)
    return steps, ends


def _trials(look: Look) -> list[float]:
    """When each replica on trial has stood it."""
    times = [look.steady_at(slot.newest) for slot in look.slots if slot.newest is not None]
    return [at for at in times if at is not None]


def _late(deployment: Deployment, contested: list[Look], now: float) -> tuple[Failure | None, list[float]]:
    """The first service that stands still beyond its deadline, else when each would."""
    at = progress(deployment, contested)
    deadlines: list[float] = []
    for look in contested:
        if look.complete or (canary.under_way(look) and canary.standing(look).since is not None):
            continue
        deadline = look.service.update.deadline
        if now >= at + deadline:
            return _stuck(look, f"{look.name}: no progress for {deadline:g} s"), []
        deadlines.append(at + deadline)
    return None, deadlines


def progress(deployment: Deployment, contested: list[Look]) -> float:
    """When the change last came further: a replica got traffic, a step was reached, somebody resumed it."""
    rollout = deployment.rollout
    times: list[float] = [rollout.since, deployment.resumed_at]
    times += [step.since for step in rollout.canaries.values() if step.since is not None]
    for look in contested:
        for one in (one for slot in look.slots for one in slot.current if not one.instance.held):
            ready_at = one.status.ready_at if one.status is not None else None
            times.append(one.instance.admitted_at or ready_at or 0.0)
    return max(times)


def _stuck(look: Look, what: str) -> Failure:
    for slot in look.slots:
        one = slot.newest
        if one is not None and not (one.ready and not one.instance.held):
            why = (one.status.reason if one.status is not None else one.instance.unplaced) or "not ready"
            return Failure(f"{what}: replica {slot.number}: {why}", one.id)
    return Failure(what)
