"""What an `up` would do, and why: the same digests the rollout decides by, explained field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zlayer.model.container import ContainerSpec
from zlayer.model.instance import Service
from zlayer.plan.restart import describe_end, unwell
from zlayer.plan.seen import Seen, by_slot
from zlayer.plan.update.strategy import method, why_stop_first

Action = Literal["create", "start", "replace", "remove", "keep"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One replica's fate. `instance` is the one it has now, empty for `create`."""

    service: str
    slot: int
    action: Action
    instance: str
    reason: str


def compare(services: Mapping[str, Service], seen: Sequence[Seen]) -> list[Difference]:
    """Every replica of every service, wanted or present, in the order of the file."""
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        if one.live:
            groups.setdefault(one.instance.service, []).append(one)
    result: list[Difference] = []
    for name, service in services.items():
        result += _service(name, service, groups.get(name, []))
    for name in sorted(groups.keys() - services.keys()):
        result += [
            Difference(name, one.instance.slot, "remove", one.id, "the service is no longer in the file")
            for one in groups[name]
        ]
    return result


def _service(name: str, service: Service, live: Sequence[Seen]) -> list[Difference]:
    digest = service.container.digest()
    slots = by_slot(live)
    result: list[Difference] = []
    for slot in range(1, service.replicas + 1):
        members = slots.pop(slot, [])
        current = [m for m in members if m.instance.digest == digest]
        if current and unwell(current[-1]):
            result.append(Difference(name, slot, "start", current[-1].id, describe_end(current[-1])))
        elif current:
            result.append(Difference(name, slot, "keep", current[-1].id, "nothing changed"))
        elif members:
            order = method(service).order
            changed = ", ".join(changes(members[-1].instance.spec, service.container))
            forced = f"; {why}" if (why := why_stop_first(service)) else ""
            result.append(Difference(name, slot, "replace", members[-1].id, f"{order}: {changed} changed{forced}"))
        else:
            result.append(Difference(name, slot, "create", "", "new replica"))
    for slot, members in sorted(slots.items()):
        result += [Difference(name, slot, "remove", m.id, "fewer replicas are wanted") for m in members]
    return result


def changes(old: ContainerSpec, new: ContainerSpec) -> list[str]:
    """Dotted names of the fields that differ. Values are not shown: they may be secret."""
    return _differ("", old.model_dump(), new.model_dump())


def _differ(path: str, old: Any, new: Any) -> list[str]:  # Any: JSON-like trees
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        names = list(dict.fromkeys([*old, *new]))
        return [n for name in names for n in _differ(f"{path}.{name}" if path else name, old.get(name), new.get(name))]
    return [path]
