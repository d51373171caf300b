"""The next changes of one service: scale, restart, admit, replace.

Start-first: a replica leaves when its successor serves. Stop-first: it makes room first. Never fewer serve than
`wanted - unavailable` by our doing, never more are wanted than `wanted + surge`; a blue-green update stands whole
beside the old set. Everything is decided anew from what is seen, so it can be interrupted, repeated or raced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zlayer.model.container import ContainerSpec
from zlayer.model.instance import DesiredState, Instance
from zlayer.model.units import Seconds, Timestamp
from zlayer.plan.actions import Admit, Create, Draft, Wait, Want
from zlayer.plan.backoff import LIMIT
from zlayer.plan.depends import gate
from zlayer.plan.naming import instance_id
from zlayer.plan.restart import asked_again, describe_end, judge
from zlayer.plan.seen import Seen
from zlayer.plan.update import canary
from zlayer.plan.update.look import Look, Slot

_ORDER: dict[DesiredState, int] = {"running": 0, "stopped": 1, "removed": 2}


def want(draft: Draft, seen: Seen, desired: DesiredState, reason: str, grace: Seconds | None = None) -> None:
    """Ask for its end, or for a quicker one; nothing when that is asked already."""
    further = _ORDER[seen.instance.desired] < _ORDER[desired]
    hurry = grace is not None and grace != seen.instance.stop_grace and not seen.live and not seen.ended
    if further or hurry:
        draft.changes.append(Want(seen.id, desired if further else seen.instance.desired, reason, grace))


@dataclass(slots=True)
class Turn:
    """One service, looked at once. `groups` are the instances of all services, for the gates between them."""

    look: Look
    groups: Mapping[str, Sequence[Seen]]
    draft: Draft
    leaving: set[str] = field(default_factory=set)
    admitted: set[str] = field(default_factory=set)
    made: int = 0

    @property
    def going(self) -> bool:
        """New replicas may be made in the place of old ones."""
        return not self.look.deployment.paused and self.look.deployment.rollout.state != "failed"

    def decide(self) -> None:
        if self.look.quiet:
            return
        self._surplus()
        if not self.look.wanted:
            return
        self._superseded()
        for slot in self.look.slots:
            self._restarts(slot)
        if self.going:
            self._admit()
            for slot in self.look.slots:
                self._replaced(slot)
        self._create()

    # What leaves

    def _surplus(self) -> None:
        service, deployment = self.look.service, self.look.deployment
        for slot in self.look.surplus:
            for one in slot.members:
                if service.stopped:
                    want(self.draft, one, "stopped", "service stopped", deployment.stop_grace)
                else:
                    want(self.draft, one, "removed", "scaled down")

    def _superseded(self) -> None:
        """Candidates of a change that is no longer wanted, or has failed, never served: they leave at once."""
        state = self.look.deployment.rollout.state
        for slot in self.look.slots:
            for one in slot.outdated:
                if one.instance.held:
                    self._leave(one, "its revision was given up")
            for one in slot.current[:-1]:
                want(self.draft, one, "removed", "a newer instance holds this slot")
                self.leaving.add(one.id)
            for one in slot.current:
                beside = any(map(self._serves, slot.outdated))
                if state == "failed" and (beside or (one.instance.held and self.old is not None)):
                    self._leave(one, "its revision has failed", "stopped")
            self._thin(slot)

    def _thin(self, slot: Slot) -> None:
        """Of two old ones in a slot, the one that was found good stays."""
        proven = self.look.deployment.rollout.proven.get(self.look.name)
        old = [one for one in slot.outdated if one.id not in self.leaving and not one.ended]
        old.sort(key=lambda one: (one.instance.digest != proven, not one.ready))
        for one in old[1:]:
            if self._may_go(one):
                self._leave(one, "another holds this slot")

    def _leave(self, one: Seen, reason: str, desired: DesiredState | None = None) -> None:
        """What failed is kept for its log: stopped, not removed."""
        undone = self.look.deployment.rolled_back_from and one.instance.digest != self.look.digest
        want(self.draft, one, desired or ("stopped" if undone else "removed"), reason)
        self.leaving.add(one.id)

    def _replaced(self, slot: Slot) -> None:
        newest = slot.newest
        if newest is None:
            return
        for one in slot.outdated:
            if one.id in self.leaving:
                continue
            if (one.ended and self._serves(newest)) or (
                self._serves(newest) and self._may_go(one) and self._past_canary()
            ):
                self._leave(one, "replaced")
            else:
                self._wait(slot, self._why_not(newest))

    def _why_not(self, newest: Seen) -> str:
        if not self._serves(newest):
            return f"{newest.id} is not ready yet" if not newest.ready else f"{newest.id} is on trial"
        return "the canary goes on" if not self._past_canary() else "other replicas must be ready first"

    def _past_canary(self) -> bool:
        if not canary.under_way(self.look):
            return True
        old = [one for one in self.look.outdated if one.id not in self.leaving and self._serves(one)]
        return len(old) > canary.kept(self.look)

    def _serves(self, one: Seen) -> bool:
        admitted = not one.instance.held or one.id in self.admitted
        return one.ready and admitted and one.id not in self.leaving

    def _may_go(self, one: Seen) -> bool:
        """The floor holds without it."""
        if not self._serves(one):
            return True
        everyone = [each for slot in self.look.slots for each in (*slot.current, *slot.outdated)]
        return sum(map(self._serves, everyone)) - 1 >= self.look.wanted - self.look.method.unavailable

    # What ended

    def _restarts(self, slot: Slot) -> None:
        newest = slot.newest
        if newest is not None and newest.ended and newest.id not in self.leaving:
            if self.going or not newest.instance.held:
                self._restart(slot, newest)
            else:
                self._wait(slot, "paused")
        old = self._old_in(slot)
        if old and old[-1].ended and not self._is_next(slot) and not (newest and self._serves(newest)):
            self._restart(slot, old[-1])

    def _is_next(self, slot: Slot) -> bool:
        """An old one that ended is followed by the wanted spec, where the update may touch this slot by now."""
        if self.look.proven:
            return True
        return self.going and self.look.method.strategy == "rolling" and slot.newest is None

    def _restart(self, slot: Slot, ended: Seen) -> None:
        verdict, now = judge(ended), self.look.now
        attempt = ended.instance.attempt + 1
        if asked_again(ended, self.look.deployment.asked_at):
            self._make(slot, f"asked for again: {describe_end(ended)}", like=ended, attempt=attempt)
            want(self.draft, ended, "stopped", "followed by another try")
        elif verdict.at is None:
            self._wait(slot, verdict.reason)
        elif now < verdict.at <= now + LIMIT:  # further off only where the clock went back
            self.draft.wake(verdict.at)
            self._wait(slot, f"restarts after back-off: {verdict.reason}", verdict.at)
        else:
            self._make(slot, f"restart {attempt}", like=ended, attempt=attempt, failures=verdict.failures)
            want(self.draft, ended, "stopped", "followed by a restart")

    # What gets traffic

    def _admit(self) -> None:
        held = [s.newest for s in self.look.slots if s.newest is not None and s.newest.instance.held]
        early = self._too_early()
        for one in held:
            at = self.look.steady_at(one)
            if at is None or one.id in self.leaving:
                continue
            if at > self.look.now:
                self.draft.wake(at)
                self.draft.waits.append(Wait(self.look.name, one.instance.slot, f"{one.id} is on trial", at))
            elif not early:
                self.draft.changes.append(Admit(one.id, "stood its trial" if not self.look.proven else "known good"))
                self.admitted.add(one.id)

    def _too_early(self) -> bool:
        """Where replicas get traffic together or not at all: not all of them have stood their trial."""
        look = self.look
        if canary.under_way(look) and canary.weight(look) == 0:
            return True
        if look.method.strategy != "blue_green" or not look.contested:
            return False
        return not all(s.newest and (self._serves(s.newest) or look.steady(s.newest)) for s in look.slots)

    # What is made

    @property
    def old(self) -> Seen | None:
        """What serves of the spec before: more of it is made while the new one may not be."""
        found = [one for one in self.look.outdated if not one.instance.held and one.id not in self.leaving]
        return found[0] if found else None

    def _create(self) -> None:
        empty = [s for s in self.look.slots if s.newest is None and not self._old_in(s)]
        rest = [s for s in self.look.slots if s.newest is None and self._old_in(s)]
        rest.sort(key=lambda s: (any(map(self._serves, s.outdated)), s.number))
        limit = self._limit()
        for slot in empty:
            if self._room() <= 0:
                self._wait(slot, "waits for other replicas to be replaced")
            elif self.going and limit > 0:
                limit -= self._fill(slot, "new replica")
            else:
                self._fill(slot, "new replica", like=self.old)
        for slot in rest:
            if not self.going:
                self._wait(slot, "paused" if self.look.deployment.paused else "the update has failed")
            elif limit <= 0:
                self._wait(slot, "the canary goes on")
            else:
                limit -= self._replace(slot)

    def _old_in(self, slot: Slot) -> list[Seen]:
        return [one for one in slot.outdated if one.id not in self.leaving]

    def _limit(self) -> int:
        """How many more slots may get the wanted spec by now."""
        if not canary.under_way(self.look):
            return self.look.wanted
        return canary.replicas(self.look) - sum(slot.newest is not None for slot in self.look.slots)

    def _room(self) -> int:
        """How many more replicas may be wanted."""
        if self.look.method.strategy == "blue_green" and not self.look.proven:
            return self.look.wanted
        live = [one for slot in self.look.slots for one in (*slot.current, *slot.outdated)]
        wanted = sum(one.id not in self.leaving for one in live) + self.made
        return self.look.wanted + self.look.method.surge - wanted

    def _replace(self, slot: Slot) -> bool:
        old = self._old_in(slot)
        reason = "replaces a replica whose spec changed"
        if all(one.ended for one in old) and self._is_next(slot):
            if not self._may_fill(slot):
                return False
            for one in old:
                self._leave(one, "replaced")
            return self._fill(slot, reason)
        if not self.look.method.stop_first and self._room() > 0:
            return self._fill(slot, reason)
        if not self._makes_room(slot, old):
            self._wait(slot, "waits for other replicas to be replaced")
        return False

    def _makes_room(self, slot: Slot, old: Sequence[Seen]) -> bool:
        """Without room beside: one that serves may go while the floor holds, one that does not when it is its turn."""
        gone = False
        for one in old:
            if self._may_go(one) if self._serves(one) else not self._in_flight(slot):
                self._leave(one, "makes room for its replacement")
                gone = True
        return gone

    def _in_flight(self, but: Slot) -> bool:
        """Another replacement is on its way: made and not serving, or about to be made."""
        slots = [slot for slot in self.look.slots if slot is not but]
        coming = any(slot.newest is not None and not self._serves(slot.newest) for slot in slots)
        return coming or self.made > 0 or any(not slot.current and not self._old_in(slot) for slot in slots)

    def _fill(self, slot: Slot, reason: str, like: Seen | None = None) -> bool:
        if not self._may_fill(slot):
            return False
        self._make(slot, reason, like=like)
        self.made += 1
        return True

    def _may_fill(self, slot: Slot) -> bool:
        if self.look.method.stop_first and any(not m.released for m in slot.members):
            self._wait(slot, "waits for its predecessor to end")
            return False
        door = gate(self.look.service, self.look.deployment, self.groups, self.look.now)
        if not door.open:
            self._wait(slot, door.reason, door.wake_at)
            if door.wake_at is not None:
                self.draft.wake(door.wake_at)
        return door.open

    def _make(
        self, slot: Slot, reason: str, *, like: Seen | None = None, attempt: int | None = None, failures: int = 0
    ) -> None:
        """`like`: one that ended or serves, whose spec this one has, where that is not the wanted one."""
        look, deployment = self.look, self.look.deployment
        digest, revision = look.digest, deployment.revision
        spec = pinned(look.service.container, look.service.image_digest)
        if like is not None and like.instance.digest != digest:
            digest, spec, revision = like.instance.digest, like.instance.spec, like.instance.revision
        if attempt is None:
            attempt = _attempt(slot, digest, revision)
        seed = f"{deployment.created_at}/{revision}/{attempt}/{digest}"
        instance = Instance(
            id=instance_id(deployment.name, look.name, slot.number, seed),
            deployment=deployment.name,
            service=look.name,
            slot=slot.number,
            revision=revision,
            spec=spec,
            digest=digest,
            attempt=attempt,
            failures=failures,
            created_at=Timestamp(look.now),
            held=self._on_trial(digest, like),
        )
        self.draft.changes.append(Create(instance, reason))

    def _on_trial(self, digest: str, like: Seen | None) -> bool:
        """Others serve while this one proves itself; where nobody does, it gets traffic as soon as it is ready."""
        if self.look.proven or digest != self.look.digest:
            return False
        if like is not None and like.instance.held:
            return True
        return any(self._serves(one) for one in self.look.outdated)

    def _wait(self, slot: Slot, reason: str, until: float | None = None) -> None:
        """Told once: what was said already, perhaps with its end, is not said again."""
        waits = self.draft.waits
        if not any((one.service, one.slot, one.reason) == (self.look.name, slot.number, reason) for one in waits):
            waits.append(Wait(self.look.name, slot.number, reason, until))


def pinned(container: ContainerSpec, image_digest: str) -> ContainerSpec:
    """The container with the very image it ran with before, where a roll-back says so."""
    return container.model_copy(update={"pin": image_digest}) if image_digest and not container.pin else container


def _attempt(slot: Slot, digest: str, revision: int) -> int:
    """0, or past those made before in this slot of the same wish: ids are never used twice."""
    same = [m.instance.attempt for m in slot.members if (m.instance.digest, m.instance.revision) == (digest, revision)]
    return max(same, default=-1) + 1
