"""From what a deployment wants and what is there to the next writes: create, admit, replace, restart, scale, remove.

Rules
- A replica whose container spec is unchanged is never touched.
- A replaced replica ends only when its successor has stood its trial (`update.turn`), unless two cannot coexist.
- An instance that ended by itself is history; its slot gets a new one after back-off, as the restart policy says.
- Every call sees everything and decides again: it can be interrupted, repeated or raced without harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zlayer.model.instance import Deployment
from zlayer.plan.actions import Decision, Draft
from zlayer.plan.seen import Seen, grouped
from zlayer.plan.update.look import Look, looks
from zlayer.plan.update.turn import Turn, want


def rollout(deployment: Deployment, seen: Sequence[Seen], now: float) -> Decision:
    """The next changes of one deployment. `seen` is every instance of it, in any state."""
    groups = grouped(seen)
    return decide(deployment, groups, looks(deployment, groups, now))


def decide(deployment: Deployment, groups: Mapping[str, Sequence[Seen]], services: Mapping[str, Look]) -> Decision:
    """The same, from what was looked at already."""
    draft = Draft()
    if deployment.desired != "running":
        for one in (one for group in groups.values() for one in group):
            want(draft, one, deployment.desired, f"deployment {deployment.desired}", deployment.stop_grace)
        return draft.close()
    for name in sorted(groups.keys() - deployment.services.keys()):
        for one in groups[name]:
            want(draft, one, "removed", "service is no longer in the deployment")
    for look in services.values():
        Turn(look, groups, draft).decide()
    return draft.close()
