"""From what a deployment wants and what is there to the next writes: create, replace, restart, scale, stop, remove.

Rules
- A replica whose container spec is unchanged is never touched.
- Start-first: a replaced replica ends only when its successor is ready. Stop-first only where two cannot coexist
  (host network with ports; a lone replica with a writable bind or named volume, whose data has one writer). At most
  a quarter of a service (at least one) is being replaced at a time.
- An instance that ended by itself is history; its slot gets a new one after back-off, as the restart policy says.
- Every call sees everything and decides again: it can be interrupted, repeated or raced without harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zlayer.model.base import Seconds, Timestamp
from zlayer.model.container import Mount, TmpfsMount
from zlayer.model.instance import Deployment, DesiredState, Instance, Service
from zlayer.plan.actions import Create, Decision, Draft, Wait, Want
from zlayer.plan.backoff import LIMIT
from zlayer.plan.depends import gate
from zlayer.plan.naming import instance_id
from zlayer.plan.restart import asked_again, describe_end, judge
from zlayer.plan.seen import Seen, by_slot

_ORDER: dict[DesiredState, int] = {"running": 0, "stopped": 1, "removed": 2}


def rollout(deployment: Deployment, seen: Sequence[Seen], now: float) -> Decision:
    """The next changes of one deployment. `seen` is every instance of it, in any state."""
    draft = Draft()
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.instance.service, []).append(one)
    if deployment.desired != "running":
        for one in seen:
            _want(draft, one, deployment.desired, f"deployment {deployment.desired}", deployment.stop_grace)
        return draft.close()
    for name in sorted(groups.keys() - deployment.services.keys()):
        for one in groups[name]:
            _want(draft, one, "removed", "service is no longer in the deployment")
    for name, service in deployment.services.items():
        turn = _Turn(deployment, name, service, groups, now, draft)
        turn.decide()
    return draft.close()


def surge(replicas: int) -> int:
    """How many replicas of a service are replaced at a time."""
    return max(1, -(-replicas // 4))


def stop_first(service: Service) -> bool:
    """Two instances of one replica cannot live side by side: a port of the host, or data only this replica writes."""
    container = service.container
    shares_ports = container.network_mode == "host" and bool(service.endpoints)
    return shares_ports or (service.replicas == 1 and any(_keeps(mount) for mount in container.mounts))


def _keeps(mount: Mount) -> bool:
    """Whether what is written there is there for the next instance too."""
    return not isinstance(mount, TmpfsMount) and not mount.readonly and not (mount.type == "volume" and not mount.name)


def _want(draft: Draft, seen: Seen, desired: DesiredState, reason: str, grace: Seconds | None = None) -> None:
    further = _ORDER[seen.instance.desired] < _ORDER[desired]
    hurry = grace is not None and grace != seen.instance.stop_grace and not seen.live and not seen.ended
    if further or hurry:
        draft.changes.append(Want(seen.id, desired if further else seen.instance.desired, reason, grace))


@dataclass(slots=True)
class _Turn:
    """One service, looked at once."""

    deployment: Deployment
    name: str
    service: Service
    groups: Mapping[str, Sequence[Seen]]
    now: float
    draft: Draft
    digest: str = ""
    budget: int = 0

    def decide(self) -> None:
        self.digest = self.service.container.digest()
        slots = by_slot(self.groups.get(self.name, ()))
        wanted = 0 if self.service.stopped else self.service.replicas
        for slot, members in sorted(slots.items(), reverse=True):
            if slot > wanted:
                for one in members:
                    if self.service.stopped:
                        _want(self.draft, one, "stopped", "service stopped", self.deployment.stop_grace)
                    else:
                        _want(self.draft, one, "removed", "scaled down")
        self.budget = surge(wanted) - sum(self._in_flight(slots.get(n, [])) for n in range(1, wanted + 1))
        for slot in range(1, wanted + 1):
            self._slot(slot, slots.get(slot, []))

    def _in_flight(self, members: Sequence[Seen]) -> bool:
        """A replacement under way: an old one still serves beside a new one, or has made room for it."""
        current = [m for m in members if m.live and m.instance.digest == self.digest]
        if any(m.live and m.instance.digest != self.digest and not m.ended for m in members):
            return bool(current)
        if stop_first(self.service):
            return not any(m.ready for m in current)
        return False

    def _slot(self, slot: int, members: Sequence[Seen]) -> None:
        live = [m for m in members if m.live]
        current = [m for m in live if m.instance.digest == self.digest]
        outdated = [m for m in live if m.instance.digest != self.digest]
        if current:
            self._keep(slot, current, outdated)
        elif outdated:
            self._replace(slot, members, outdated)
        else:
            self._fill(slot, members)

    def _keep(self, slot: int, current: Sequence[Seen], outdated: Sequence[Seen]) -> None:
        newest = current[-1]
        for one in current[:-1]:
            _want(self.draft, one, "removed", "a newer instance holds this slot")
        if newest.ended:
            self._restart(slot, newest)
        for one in outdated:
            if newest.ready or one.ended:
                _want(self.draft, one, "removed", "replaced")
            else:
                self.draft.waits.append(Wait(self.name, slot, f"{newest.id} is not ready yet"))

    def _restart(self, slot: int, ended: Seen) -> None:
        verdict = judge(ended)
        if asked_again(ended, self.deployment.asked_at):
            self._create(slot, f"asked for again: {describe_end(ended)}", attempt=ended.instance.attempt + 1)
            _want(self.draft, ended, "stopped", "followed by another try")
        elif verdict.at is None:
            self.draft.waits.append(Wait(self.name, slot, verdict.reason))
        elif self.now < verdict.at <= self.now + LIMIT:  # further off only where the clock went back
            self.draft.wake(verdict.at)
            self.draft.waits.append(Wait(self.name, slot, f"restarts after back-off: {verdict.reason}"))
        else:
            attempt = ended.instance.attempt + 1
            self._create(slot, f"restart {attempt}", attempt=attempt, failures=verdict.failures)
            _want(self.draft, ended, "stopped", "followed by a restart")

    def _replace(self, slot: int, members: Sequence[Seen], outdated: Sequence[Seen]) -> None:
        serving = any(not m.ended for m in outdated)
        if serving and self.budget <= 0:
            self.draft.waits.append(Wait(self.name, slot, "waits for other replicas to be replaced"))
            return
        if serving:
            self.budget -= 1
        if serving and stop_first(self.service):
            for one in outdated:
                _want(self.draft, one, "removed", "makes room for its replacement")
            return
        self._fill(slot, members, reason="replaces a replica whose spec changed")

    def _fill(self, slot: int, members: Sequence[Seen], reason: str = "new replica") -> None:
        if stop_first(self.service) and any(not m.released for m in members):
            self.draft.waits.append(Wait(self.name, slot, "waits for its predecessor to end"))
            return
        door = gate(self.service, self.deployment, self.groups, self.now)
        if not door.open:
            self.draft.waits.append(Wait(self.name, slot, door.reason))
            if door.wake_at is not None:
                self.draft.wake(door.wake_at)
            return
        self._create(slot, reason)

    def _create(self, slot: int, reason: str, *, attempt: int = 0, failures: int = 0) -> None:
        revision = self.deployment.revision
        seed = f"{self.deployment.created_at}/{revision}/{attempt}/{self.digest}"
        instance = Instance(
            id=instance_id(self.deployment.name, self.name, slot, seed),
            deployment=self.deployment.name,
            service=self.name,
            slot=slot,
            revision=revision,
            spec=self.service.container,
            digest=self.digest,
            attempt=attempt,
            failures=failures,
            created_at=Timestamp(self.now),
        )
        self.draft.changes.append(Create(instance, reason))
