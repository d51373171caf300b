"""An update as plan sees it, without store or agents: wishes, turns and replicas that behave as their image says.

`broken:never` does not get ready, `broken:crash` ends a second after it is ready, `broken:sick` becomes unhealthy
then, `broken:start` ends before it is ready. Every other image works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zlayer.model.instance import Deployment, Revision, Service, State
from zlayer.model.units import Timestamp
from zlayer.plan.actions import Admit, Create, Decision, Want
from zlayer.plan.history import last_good, reverted, revision_of
from zlayer.plan.rollout import decide
from zlayer.plan.seen import Seen, grouped
from zlayer.plan.update.look import Looks, looks
from zlayer.plan.update.verdict import review
from zlayer.testing.builders import deployment, seen

BROKEN = ("broken:never", "broken:crash", "broken:sick", "broken:start")


@dataclass(slots=True)
class Rig:
    """Turn by turn: `turn` decides and applies, `live` lets replicas go on, `now` is moved by the test."""

    wanted: Deployment
    now: float = 1000.0
    instances: dict[str, Seen] = field(default_factory=dict)
    revisions: dict[int, Revision] = field(default_factory=dict)
    rollbacks: int = 0
    admitted: list[Seen] = field(default_factory=list)
    """Every instance that ever could have had traffic, as it was then."""
    wake_at: float | None = None
    looks: Looks = field(default_factory=Looks)

    @classmethod
    def of(cls, **services: Service) -> Rig:
        rig = cls(deployment("shop", 1, **services))
        rig.revisions[1] = revision_of(rig.wanted, "first deploy")
        return rig

    def wish(self, **services: Service) -> None:
        """A new file."""
        change = {"revision": self.wanted.revision + 1, "services": services, "paused": False, "rolled_back_from": 0}
        self.change(**change)

    def change(self, **fields: object) -> None:
        before, self.wanted = self.wanted, self.wanted.model_copy(update=fields)
        if self.wanted.revision != before.revision:
            self.revisions[self.wanted.revision] = revision_of(self.wanted, "", before=before)

    def turn(self, cut: int | None = None) -> Decision:
        """One turn of the controllers, of which only the first `cut` changes come to be."""
        groups = grouped(list(self.instances.values()))
        verdict = review(self.wanted, self.looks.at(self.wanted, groups, self.now), self.now)
        if verdict.rollout != self.wanted.rollout:
            self._judged(self.wanted.model_copy(update={"rollout": verdict.rollout}))
        decision = decide(self.wanted, groups, self.looks.at(self.wanted, groups, self.now))
        anew = looks(self.wanted, groups, self.now)
        closely = {name: replace(look, quiet=False) for name, look in anew.items()}
        assert decision == decide(self.wanted, groups, closely), (
            "what is kept, or passed over as quiet, is not as it was"
        )
        self.wake_at = min((at for at in (verdict.wake_at, decision.wake_at) if at is not None), default=None)
        for change in decision.changes[:cut]:
            self._apply(change)
        self.admitted += [one for one in self.instances.values() if one.ready and one.live and not one.instance.held]
        return decision

    def _judged(self, after: Deployment) -> None:
        before, self.wanted = self.wanted.rollout, after
        number = after.revision
        if after.rollout.state == before.state:
            return
        note = self.revisions[number].note
        if after.rollout.state == "good":
            note = note.model_copy(update={"good": True})
            self.revisions[number] = self.revisions[number].model_copy(update={"note": note})
        elif after.rollout.state == "failed" and not after.rolled_back_from:
            good = last_good(self.revisions.values(), after)
            if good is not None and all(service.update.rollback for service in after.services.values()):
                self.rollbacks += 1
                self.wanted = reverted(after, good, Timestamp(self.now), rolled_back_from=number)
                self.revisions[number + 1] = revision_of(self.wanted, "", before=after)

    def _apply(self, change: object) -> None:
        match change:
            case Create(instance=instance):
                assert instance.id not in self.instances, "an id was minted twice"
                self.instances[instance.id] = Seen(instance.model_copy(update={"node": "n1"}))
            case Want(instance_id=key, desired=desired):
                self._update(key, desired=desired)
            case Admit(instance_id=key):
                self._update(key, held=False, admitted_at=self.now)

    def _update(self, key: str, **fields: object) -> None:
        old = self.instances[key]
        self.instances[key] = Seen(old.instance.model_copy(update=fields), old.status)

    def live(self, moves: Callable[[], bool] = lambda: True) -> None:
        """Each replica may move on by one state; unwanted ones end and vanish."""
        for key, one in list(self.instances.items()):
            doomed = one.state is State.READY and one.instance.spec.image in BROKEN
            if not moves() and not doomed:
                continue
            if one.instance.desired == "removed":
                del self.instances[key]
            elif one.instance.desired == "stopped":
                self.end(key, 0)
            elif not one.ended:
                self._go_on(key, one)

    def _go_on(self, key: str, one: Seen) -> None:
        image = one.instance.spec.image
        if one.state < State.RUNNING:
            self.instances[key] = seen(one.instance, State.RUNNING, started_at=Timestamp(self.now))
        elif one.state is State.RUNNING:
            if image == "broken:start":
                self.end(key)
            elif image != "broken:never":
                self.instances[key] = seen(one.instance, State.READY, started_at=self.now, ready_at=self.now)
        elif image == "broken:crash":
            self.end(key)
        elif image == "broken:sick" and one.status is not None:
            self.instances[key] = Seen(one.instance, one.status.model_copy(update={"health": "unhealthy"}))

    def end(self, key: str, code: int = 1) -> None:
        """It ends by itself, now."""
        one = self.instances[key]
        if one.ended:
            return
        told = one.status
        times = {"started_at": told.started_at, "ready_at": told.ready_at} if told is not None else {}
        ended = {**times, "finished_at": Timestamp(self.now), "exit_code": code}
        self.instances[key] = seen(one.instance, State.EXITED, **ended)

    def of_image(self, image: str) -> list[Seen]:
        return [one for one in self.instances.values() if one.live and one.instance.spec.image == image]

    def available(self) -> int:
        return sum(one.ready and one.live and not one.instance.held for one in self.instances.values())

    def wanted_now(self) -> int:
        return sum(one.live and not one.ended for one in self.instances.values())

    def settle(self, limit: int = 600, step: float = 1.0) -> None:
        """Until nothing is left to decide and everything wanted is ready. AssertionError when it does not come."""
        for _ in range(limit):
            decision = self.turn()
            self.live()
            self.now += step
            calm = not decision.changes and self.wanted.rollout.state in ("good", "failed")
            if calm and all(one.ready or one.ended for one in self.instances.values()):
                return
        raise AssertionError(f"does not converge: {self.turn()}, {self.wanted.rollout}")
