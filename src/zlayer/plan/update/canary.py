"""Where the steps of a canary stand: how many replicas are new by now, and with which part of the traffic."""

from __future__ import annotations

from zlayer.model.rollout import CanaryStep
from zlayer.plan.update.look import Look

FULL = 100


def applies(look: Look) -> bool:
    """Its change goes by steps: something else serves meanwhile."""
    return look.method.strategy == "canary" and look.contested


def standing(look: Look) -> CanaryStep:
    return look.deployment.rollout.canaries.get(look.name, CanaryStep())


def under_way(look: Look) -> bool:
    """It has steps before it."""
    return applies(look) and standing(look).index < len(look.service.update.steps)


def replicas(look: Look) -> int:
    """How many slots may be of the new spec now: their part of the wanted count, rounded up."""
    step = standing(look)
    steps = look.service.update.steps
    if step.index >= len(steps):
        return look.wanted
    return -(-steps[step.index].weight * look.wanted // FULL)


def kept(look: Look) -> int:
    """How many of the old spec stay for now: theirs is the rest of the traffic."""
    step = standing(look)
    steps = look.service.update.steps
    if step.index >= len(steps):
        return 0
    return -(-(FULL - steps[step.index].weight) * look.wanted // FULL)


def weight(look: Look) -> int | None:
    """Percent of the traffic that is the new spec's now; None: as its replicas are."""
    step, steps = standing(look), look.service.update.steps
    if step.index >= len(steps):
        return None
    if step.since is not None:
        return steps[step.index].weight
    return steps[step.index - 1].weight if step.index else 0


def advance(look: Look) -> tuple[CanaryStep, float | None]:
    """Where it stands now, and when a pause ends. A step begins when its replicas have stood their trial."""
    step, steps, now = standing(look), look.service.update.steps, look.now
    if not look.outdated:
        return CanaryStep(index=len(steps)), None
    if step.index >= len(steps):
        return step, None
    if step.since is None:
        good = [slot for slot in look.slots if slot.newest is not None and look.steady(slot.newest)]
        if len(good) < replicas(look):
            return step, None
        return step.model_copy(update={"since": now, "resumes": look.deployment.resumes}), _end(look, step.index, now)
    end = _end(look, step.index, step.since)
    over = look.deployment.resumes > step.resumes if end is None else not step.since <= now < end
    return (CanaryStep(index=step.index + 1), None) if over else (step, end)


def _end(look: Look, index: int, since: float) -> float | None:
    pause = look.service.update.steps[index].pause
    return None if pause is None else since + pause
