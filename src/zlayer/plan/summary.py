"""How a deployment stands, in the words of `ps`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from zlayer.model.instance import Deployment
from zlayer.plan.kept import Kept
from zlayer.plan.restart import asked_again, describe_end, judge
from zlayer.plan.seen import Seen, grouped

DeploymentStatus = Literal[
    "pending", "deploying", "updating", "paused", "running", "rolled_back", "failed", "stopping", "stopped", "removing"
]


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


def summarise(deployment: Deployment, seen: Sequence[Seen], known: Kept[ServiceSummary] | None = None) -> Summary:
    """How it stands. `failed`: a wanted replica ended and will not, or repeatedly did not, come back; or an update
    has failed and is not undone. `updating`: a change is on trial beside, or in the place of, what served before.
    `rolled_back`: it runs as it was before an update that failed. `known` is what earlier looks at it have found.
    """
    trial = _on_trial(deployment, seen)
    groups = grouped(seen)
    known = known or Kept()
    known.only(deployment.services)
    services = tuple(
        known.get(
            name,
            (
                deployment.services[name],
                deployment.rollout,
                deployment.asked_at,
                trial,
                *(group := groups.get(name, [])),
            ),
            partial(_service, name, deployment, group, trial),
        )
        for name in sorted(deployment.services)
    )
    settled = all(s.settled for s in services) and not _leftover(deployment, seen)
    if deployment.desired == "removed":
        return Summary("removing", "", "", services)
    if deployment.desired == "stopped":
        ended = not any(one.running or not one.ended for one in seen)
        return Summary("stopped" if ended else "stopping", "", "", services)
    if found := _failed(deployment, services, trial):
        return Summary("failed", *found, services)
    if deployment.rolled_back_from and not trial:
        status: DeploymentStatus = "rolled_back" if settled else "updating"
        return Summary(status, deployment.reason, deployment.rollout.culprit, services)
    if trial:
        return Summary("paused" if deployment.paused else "updating", "", "", services)
    if settled:
        return Summary("running", "", "", services)
    return Summary("deploying" if any(one.instance.node for one in seen) else "pending", "", "", services)


def _on_trial(deployment: Deployment, seen: Sequence[Seen]) -> bool:
    """Something wanted was not found good yet, and there is something to go back to, or that serves still."""
    rollout, services = deployment.rollout, deployment.services
    wanted = {name: service for name, service in services.items() if service.replicas and not service.stopped}
    digests = {name: service.container.digest() for name, service in wanted.items()}
    unproven = {name for name, digest in digests.items() if rollout.proven.get(name) != digest}
    if not unproven or rollout.proven:
        return bool(unproven)
    older = (one for one in seen if one.live and one.instance.service in unproven)
    return any(one.instance.digest != digests[one.instance.service] for one in older)


def _failed(deployment: Deployment, services: Sequence[ServiceSummary], trial: bool) -> tuple[str, str] | None:
    rollout = deployment.rollout
    if trial and rollout.state == "failed" and rollout.asked_at == deployment.asked_at:
        digests = {name: service.container.digest() for name, service in deployment.services.items()}
        return (rollout.reason, rollout.culprit) if rollout.digests == digests else None
    found = next((s for s in services if s.trouble), None)
    return (f"{found.name}: {found.trouble}", found.culprit) if found is not None else None


def _leftover(deployment: Deployment, seen: Sequence[Seen]) -> bool:
    return any(one.instance.service not in deployment.services for one in seen)


def _service(name: str, deployment: Deployment, seen: Sequence[Seen], trial: bool) -> ServiceSummary:
    service = deployment.services[name]
    wanted = 0 if service.stopped else service.replicas
    digest = service.container.digest()
    live = [one for one in seen if one.live]
    current = [one for one in live if one.instance.digest == digest and one.instance.slot <= wanted]
    ready = {one.instance.slot for one in current if one.ready and not one.instance.held}
    judged = trial and deployment.rollout.proven.get(name) != digest  # by the controllers, not by each look
    trouble, culprit = ("", "") if judged else _trouble(current, deployment.asked_at)
    unfinished = [one for one in seen if one.instance.desired == "removed" or not (one.live or one.released)]
    return ServiceSummary(
        name=name,
        image=service.container.image,
        desired=wanted,
        running=sum(one.running for one in seen),
        ready=sum(one.ready and not one.instance.held for one in live),
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
