"""How a deployment stands, in the words of `ps`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zlayer.model.instance import Deployment, Service
from zlayer.plan.restart import asked_again, describe_end, judge
from zlayer.plan.seen import Seen

DeploymentStatus = Literal["pending", "deploying", "running", "failed", "stopping", "stopped", "removing"]


_VERBS = ("exited ", "ended", "killed", "never ")


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """`settled`: every wanted replica is ready, of the wanted spec; of the others none lives or is being removed.

    `note` is what a replica that is not ready waits for or suffers from, as `web-1: pulling nginx:1`.
    """

    name: str
    image: str
    desired: int
    running: int
    ready: int
    settled: bool
    trouble: str = ""
    culprit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """`message` explains `failed`; `culprit` is the instance to look at."""

    status: DeploymentStatus
    message: str
    culprit: str
    services: tuple[ServiceSummary, ...]


def summarise(deployment: Deployment, seen: Sequence[Seen]) -> Summary:
    """`failed`: a wanted replica ended and will not, or repeatedly did not, come back."""
    services = tuple(
        _service(name, service, [one for one in seen if one.instance.service == name], deployment.asked_at)
        for name, service in sorted(deployment.services.items())
    )
    trouble = next((s for s in services if s.trouble), None)
    status: DeploymentStatus
    if deployment.desired == "removed":
        status = "removing"
    elif deployment.desired == "stopped":
        status = "stopped" if not any(one.running or not one.ended for one in seen) else "stopping"
    elif trouble is not None:
        status = "failed"
    elif all(s.settled for s in services) and not _leftover(deployment, seen):
        status = "running"
    else:
        status = "deploying" if any(one.instance.node for one in seen) else "pending"
    if status == "failed" and trouble is not None:
        return Summary(status, f"{trouble.name}: {trouble.trouble}", trouble.culprit, services)
    return Summary(status, "", "", services)


def _leftover(deployment: Deployment, seen: Sequence[Seen]) -> bool:
    return any(one.instance.service not in deployment.services for one in seen)


def _service(name: str, service: Service, seen: Sequence[Seen], asked_at: float) -> ServiceSummary:
    wanted = 0 if service.stopped else service.replicas
    digest = service.container.digest()
    live = [one for one in seen if one.live]
    current = [one for one in live if one.instance.digest == digest and one.instance.slot <= wanted]
    ready = {one.instance.slot for one in current if one.ready}
    trouble, culprit = _trouble(current, asked_at)
    unfinished = [one for one in seen if one.instance.desired == "removed" or not (one.live or one.released)]
    return ServiceSummary(
        name=name,
        image=service.container.image,
        desired=wanted,
        running=sum(one.running for one in seen),
        ready=sum(one.ready for one in live),
        settled=len(ready) == wanted and len(live) == wanted and not unfinished,
        trouble=trouble,
        culprit=culprit,
        note=next((f"{name}-{one.instance.slot}: {_reason(one)}" for one in current if _reason(one)), ""),
    )


def _reason(one: Seen) -> str:
    waits = one.status is not None and not one.ready and not one.ended
    return one.status.reason if waits and one.status is not None else ""


def _trouble(current: Sequence[Seen], asked_at: float) -> tuple[str, str]:
    for one in current:
        if asked_again(one, asked_at):
            continue
        if one.ended:
            verdict = judge(one)
            if verdict.at is None or verdict.failures > 1:
                end = describe_end(one)
                return f"replica {one.instance.slot}{' ' if end.startswith(_VERBS) else ': '}{end}", one.id
        elif one.instance.failures > 1 and not one.ready:
            return (
                f"replica {one.instance.slot} keeps ending ({one.instance.failures} times in a row)",
                one.id,
            )
    return "", ""
