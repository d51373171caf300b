"""Start order: whether the services one service waits for are far enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zlayer.model.instance import Dependency, Deployment, Service
from zlayer.plan.seen import Seen


@dataclass(frozen=True, slots=True)
class Gate:
    """`wake_at` is when a timeout would change the answer."""

    open: bool
    reason: str = ""
    wake_at: float | None = None


OPEN = Gate(open=True)


def gate(service: Service, deployment: Deployment, instances: Mapping[str, Sequence[Seen]], now: float) -> Gate:
    """Open when every dependency holds for all wanted replicas of the service it names, or has timed out softly."""
    for dependency in service.depends:
        shut = _unmet(dependency, deployment, instances.get(dependency.service, ()))
        if not shut:
            continue
        deadline = deployment.updated_at + dependency.timeout
        if now < deadline:
            return Gate(open=False, reason=shut, wake_at=deadline)
        if dependency.on_timeout == "fail":
            return Gate(open=False, reason=f"gave up after {dependency.timeout:g} s: {shut}")
    return OPEN


def _unmet(dependency: Dependency, deployment: Deployment, seen: Sequence[Seen]) -> str:
    other = deployment.services.get(dependency.service)
    if other is None or other.stopped:
        return f"service {dependency.service} is not there or stopped"
    started = dependency.condition == "started"
    good = {one.instance.slot for one in seen if one.live and (one.running if started else one.ready)} & set(
        range(1, other.replicas + 1)
    )
    if len(good) >= other.replicas:
        return ""
    word = "started" if started else "ready"
    return f"waits for {dependency.service}: {len(good)} of {other.replicas} {word}"
