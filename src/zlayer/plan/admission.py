"""Who gets traffic while a deployment is updated, and with which weight.

Both are in the store: controllers let a replica go from `held`, and step a canary on. So there is no time in it: every
node that looks at one revision of the store makes the same table, and a new one is made only when the store moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zlayer.model.instance import Deployment
from zlayer.plan.routes import Admission
from zlayer.plan.seen import Seen, grouped
from zlayer.plan.update import canary
from zlayer.plan.update.look import Look, look_at

HEAVIEST = 256
"""The greatest weight a proxy takes."""


def admission(deployment: Deployment, seen: Sequence[Seen]) -> Admission:
    """What `plan.routes` and the zone need to know of a deployment's updates."""
    return Admission(held(seen), weights(deployment, seen))


def held(seen: Iterable[Seen]) -> frozenset[str]:
    """The ids of instances that get no traffic though ready: replacements that have not stood their trial."""
    return frozenset(one.id for one in seen if one.instance.held)


def weights(deployment: Deployment, seen: Sequence[Seen]) -> dict[str, int]:
    """Weights from 0 to 256 for the replicas of canaries under way; all others weigh the same, and are left out.

    The servers of the new spec together get the percent of the step, those of the old ones the rest.
    """
    if not deployment.rollout.canaries or deployment.rollout.state != "updating":
        return {}
    groups = grouped(seen)
    made: dict[str, int] = {}
    for name in deployment.rollout.canaries.keys() & deployment.services.keys():
        look = look_at(deployment, name, deployment.services[name], groups.get(name, ()), 0.0)
        if canary.under_way(look) and (percent := canary.weight(look)) is not None:
            made |= _shared(look, percent)
    return made


def _shared(look: Look, percent: int) -> dict[str, int]:
    new = [one.id for slot in look.slots for one in slot.current if _serves(one)]
    old = [one.id for one in look.outdated if _serves(one)]
    if not new or not old:
        return {}
    each = {**dict.fromkeys(new, percent / len(new)), **dict.fromkeys(old, (canary.FULL - percent) / len(old))}
    heaviest = max(each.values())
    return {key: max(1, round(part * HEAVIEST / heaviest)) if part else 0 for key, part in each.items()}


def _serves(one: Seen) -> bool:
    return one.ready and not one.instance.held
