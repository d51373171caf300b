"""One service as a turn sees it: its slots, what is current in them and what is outdated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from zlayer.model.instance import Deployment, Service
from zlayer.plan.kept import Kept
from zlayer.plan.seen import Seen, by_slot
from zlayer.plan.update.strategy import Method, method


@dataclass(frozen=True, slots=True)
class Slot:
    """`current`: live and of the wanted spec. `outdated`: live and of another. `members`: all, oldest first."""

    number: int
    members: tuple[Seen, ...]
    current: tuple[Seen, ...]
    outdated: tuple[Seen, ...]

    @property
    def quiet(self) -> bool:
        """It has one replica, of the wanted spec, that serves or is about to: nothing is to be done."""
        return len(self.members) == 1 and self.current == self.members and _undisturbed(self.members[0])

    @property
    def newest(self) -> Seen | None:
        return self.current[-1] if self.current else None


@dataclass(frozen=True, slots=True)
class Look:
    """`slots` are 1 to `wanted`, `surplus` the slots above. `proven`: its wanted spec was found good before."""

    deployment: Deployment
    name: str
    service: Service
    digest: str
    wanted: int
    slots: tuple[Slot, ...]
    surplus: tuple[Slot, ...]
    method: Method
    quiet: bool
    """Every slot is, and there are no others."""
    now: float

    @property
    def proven(self) -> bool:
        return self.deployment.rollout.proven.get(self.name) == self.digest

    @property
    def outdated(self) -> list[Seen]:
        return [one for slot in self.slots for one in slot.outdated]

    @property
    def contested(self) -> bool:
        """There is something to go back to, or that serves still: the new spec is on trial."""
        return not self.proven and (bool(self.deployment.rollout.proven) or bool(self.outdated))

    def steady_at(self, one: Seen) -> float | None:
        """When it has been ready for `min_ready` without a break; None: it is not ready. Proven ones need no trial."""
        if not one.ready or one.status is None:
            return None
        since = one.status.ready_at or one.status.started_at or 0.0
        if self.proven or since > self.now:  # the clock went back: nobody knows how long, so nobody waits for it
            return min(since, self.now)
        return since + self.service.update.min_ready

    def steady(self, one: Seen) -> bool:
        at = self.steady_at(one)
        return at is not None and at <= self.now

    @property
    def complete(self) -> bool:
        """Every slot has a replica of the wanted spec that serves and has stood its trial."""
        newest = [slot.newest for slot in self.slots]
        return all(one is not None and not one.instance.held and self.steady(one) for one in newest)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a look follows from a service and its instances alone."""

    digest: str
    wanted: int
    slots: tuple[Slot, ...]
    surplus: tuple[Slot, ...]
    method: Method
    quiet: bool


def looks(deployment: Deployment, groups: Mapping[str, Sequence[Seen]], now: float) -> dict[str, Look]:
    """Every service of the deployment, in the order of its file."""
    return Looks().at(deployment, groups, now)


class Looks:
    """Looks at one deployment again and again: at the services of which nothing has changed as before."""

    def __init__(self) -> None:
        self._kept: Kept[_Shape] = Kept()

    def at(self, deployment: Deployment, groups: Mapping[str, Sequence[Seen]], now: float) -> dict[str, Look]:
        self._kept.only(deployment.services)
        found = {}
        for name, service in deployment.services.items():
            seen = groups.get(name, ())
            shape = self._kept.get(name, (service, *seen), partial(_shape, service, seen))
            found[name] = _look(deployment, name, service, shape, now)
        return found


def look_at(deployment: Deployment, name: str, service: Service, seen: Sequence[Seen], now: float) -> Look:
    return _look(deployment, name, service, _shape(service, seen), now)


def _look(deployment: Deployment, name: str, service: Service, shape: _Shape, now: float) -> Look:
    return Look(
        deployment=deployment,
        name=name,
        service=service,
        digest=shape.digest,
        wanted=shape.wanted,
        slots=shape.slots,
        surplus=shape.surplus,
        method=shape.method,
        quiet=shape.quiet,
        now=now,
    )


def _shape(service: Service, seen: Sequence[Seen]) -> _Shape:
    digest = service.container.digest()
    wanted = 0 if service.stopped else service.replicas
    members = by_slot(seen)
    slots = tuple(_slot(n, members.get(n, []), digest) for n in range(1, wanted + 1))
    surplus = tuple(_slot(n, members[n], digest) for n in sorted(members, reverse=True) if n > wanted)
    quiet = not surplus and all(slot.quiet for slot in slots)
    return _Shape(digest, wanted, slots, surplus, method(service), quiet)


def _slot(number: int, members: Sequence[Seen], digest: str) -> Slot:
    live = [one for one in members if one.live]
    return Slot(
        number,
        tuple(members),
        tuple(one for one in live if one.instance.digest == digest),
        tuple(one for one in live if one.instance.digest != digest),
    )


def _undisturbed(one: Seen) -> bool:
    return not one.ended and not one.instance.held
