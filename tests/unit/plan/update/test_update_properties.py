"""What an update promises, over random replicas, timings, crashes and interruptions."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.model.endpoint import Step, Update
from zlayer.model.instance import Service
from zlayer.model.units import Seconds
from zlayer.plan.update.strategy import method
from zlayer.testing.builders import service
from zlayer.testing.updates import BROKEN, Rig

STEPS = (Step(weight=10, pause=Seconds(3)), Step(weight=50, pause=Seconds(5)))


@dataclass(frozen=True)
class Case:
    replicas: int
    update: Update

    def of(self, image: str) -> Service:
        return service(self.replicas, image, update=self.update)

    @property
    def floor(self) -> int:
        return self.replicas - method(self.of("x")).unavailable

    @property
    def ceiling(self) -> int:
        how = method(self.of("x"))
        return 2 * self.replicas if how.strategy == "blue_green" else self.replicas + how.surge


@st.composite
def cases(draw: st.DrawFn, strategies: tuple[str, ...] = ("rolling", "blue_green", "canary")) -> Case:
    strategy = draw(st.sampled_from(strategies))
    surge = draw(st.sampled_from([1, 2, "25%", "50%", "100%"] + ([0] if strategy == "rolling" else [])))
    missing = draw(st.sampled_from([0, 1, "25%", "50%"]))
    if surge == 0 and missing in (0, "25%"):
        missing = 1
    order = draw(st.sampled_from(["auto", "stop_first"])) if strategy == "rolling" else "auto"
    update = Update.model_validate(
        {
            "strategy": strategy,
            "order": order,
            "max_surge": surge,
            "max_unavailable": missing,
            "min_ready": draw(st.sampled_from([0, 3, 8])),
            "deadline": 60,
            "steps": STEPS,
        }
    )
    return Case(draw(st.integers(1, 6)), update)


def started(case: Case) -> Rig:
    rig = Rig.of(web=case.of("a:1"))
    rig.settle()
    assert rig.revisions[1].note.good
    return rig


chances = st.lists(st.integers(0, 9), min_size=30, max_size=300)


@given(case=cases(), chances=chances, cut=st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_a_good_update_converges_within_its_bounds(case: Case, chances: list[int], cut: int) -> None:
    """Interrupted anywhere, with statuses that come late."""
    rig = started(case)
    rig.wish(web=case.of("b:1"))
    stream = iter(chances)
    for _ in range(60):
        rig.turn(cut or None)
        assert rig.available() >= case.floor
        assert rig.wanted_now() <= case.ceiling
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
        assert rig.available() >= case.floor
    rig.settle()
    assert rig.wanted.rollout.state == "good"
    assert rig.rollbacks == 0
    assert sorted(one.instance.slot for one in rig.of_image("b:1")) == list(range(1, case.replicas + 1))
    assert rig.of_image("a:1") == []
    assert not any(one.instance.held for one in rig.of_image("b:1"))
    assert rig.turn().changes == ()


@given(case=cases(), chances=chances, cut=st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_whatever_new_replicas_do_on_trial_the_floor_holds(case: Case, chances: list[int], cut: int) -> None:
    """They crash at any time before they are admitted: it ends with the new revision, or with the old one."""
    rig = started(case)
    rig.wish(web=case.of("b:1"))
    stream = iter(chances)
    for _ in range(80):
        rig.turn(cut or None)
        assert rig.available() >= case.floor
        assert rig.wanted_now() <= case.ceiling
        for one in rig.of_image("b:1"):
            if one.instance.held and next(stream, 9) == 0:
                rig.end(one.id)
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
    rig.settle()
    assert rig.rollbacks <= 1
    image = "a:1" if rig.rollbacks else "b:1"
    assert sorted(one.instance.slot for one in rig.of_image(image)) == list(range(1, case.replicas + 1))
    assert rig.available() == case.replicas


@given(case=cases(), image=st.sampled_from(BROKEN), chances=chances, cut=st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_a_bad_revision_is_never_reached_and_undone_once(case: Case, image: str, chances: list[int], cut: int) -> None:
    update = case.update.model_copy(update={"min_ready": Seconds(max(3.0, case.update.min_ready)), "order": "auto"})
    case = Case(case.replicas, update)
    rig = started(case)
    before = {one.id for one in rig.of_image("a:1")}
    rig.wish(web=case.of(image))
    stream = iter(chances)
    for _ in range(100):
        rig.turn(cut or None)
        assert rig.available() >= case.floor
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
    rig.settle()
    if case.floor > 0:  # else nobody serves at times, and then the new one may try
        assert not any(one.instance.spec.image == image for one in rig.admitted)
    assert rig.rollbacks == 1
    assert rig.wanted.rolled_back_from == 2
    assert rig.wanted.revision == 3
    assert len(rig.of_image("a:1")) == case.replicas
    assert rig.of_image(image) == []
    if method(case.of(image)).unavailable == 0:
        assert {one.id for one in rig.of_image("a:1")} == before, "the old ones were not touched"


@given(case=cases(), chances=chances)
@settings(max_examples=150, deadline=None)
def test_a_newer_wish_wins_whenever_it_comes(case: Case, chances: list[int]) -> None:
    rig = started(case)
    stream = iter(chances)
    for image in ("b:1", "broken:never", "a:1", "c:1"):
        rig.wish(web=case.of(image))
        for _ in range(next(stream, 5)):
            rig.turn()
            rig.live(lambda: next(stream, 9) > 2)
            rig.now += 1
            assert rig.available() >= case.floor
            assert rig.wanted_now() <= case.ceiling + method(case.of("x")).surge
    rig.settle()
    assert len(rig.of_image("c:1")) == case.replicas
    assert rig.wanted_now() == case.replicas
    assert rig.rollbacks == 0


@given(case=cases(), when=st.integers(0, 12), chances=chances)
@settings(max_examples=150, deadline=None)
def test_pause_really_pauses_and_resume_goes_on(case: Case, when: int, chances: list[int]) -> None:
    rig = started(case)
    rig.wish(web=case.of("b:1"))
    stream = iter(chances)
    for _ in range(when):
        rig.turn()
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
    rig.change(paused=True)
    new = {one.id for one in rig.of_image("b:1") if not one.instance.held}
    for _ in range(400):
        old = {one.id for one in rig.of_image("a:1")}
        decision = rig.turn()
        assert old <= {one.id for one in rig.of_image("a:1")}, "nothing old leaves"
        if rig.of_image("a:1"):
            assert {one.id for one in rig.of_image("b:1") if not one.instance.held} == new, "nothing new is reached"
        rig.live()
        rig.now += 1
    assert decision.changes == ()
    assert rig.available() >= case.replicas - sum(one.instance.held for one in rig.of_image("b:1"))
    rig.change(paused=False, resumes=1, resumed_at=rig.now)
    rig.settle()
    assert len(rig.of_image("b:1")) == case.replicas
    assert rig.rollbacks == 0


@given(case=cases(), later=st.integers(1, 8), chances=chances)
@settings(max_examples=150, deadline=None)
def test_scaling_while_it_updates_converges_and_is_no_verdict(case: Case, later: int, chances: list[int]) -> None:
    rig = started(case)
    rig.wish(web=case.of("b:1"))
    stream = iter(chances)
    for number in range(30):
        if number == 4:
            scaled = Case(later, case.update).of("b:1")
            rig.change(revision=rig.wanted.revision + 1, services={"web": scaled})
        rig.turn()
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
    rig.settle()
    assert len(rig.of_image("b:1")) == later
    assert rig.wanted_now() == later
    since = rig.wanted.rollout.since
    rig.change(revision=9, services={"web": Case(3, case.update).of("b:1")})
    rig.settle()
    assert rig.wanted.rollout.since == since
    assert rig.revisions[9].note.good


@given(case=cases(("blue_green",)), chances=chances)
@settings(max_examples=150, deadline=None)
def test_blue_green_switches_whole(case: Case, chances: list[int]) -> None:
    """There is no turn after which both have traffic, nor one after which neither has."""
    rig = started(case)
    rig.wish(web=case.of("b:1"))
    stream = iter(chances)
    for _ in range(60):
        rig.turn()
        serving = {o.instance.spec.image for o in rig.instances.values() if o.ready and o.live and not o.instance.held}
        assert len(serving) == 1
        rig.live(lambda: next(stream, 9) > 2)
        rig.now += 1
    rig.settle()
    assert len(rig.of_image("b:1")) == case.replicas


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_a_decision_is_a_function_of_what_is_seen(case: Case) -> None:
    one, other = started(case), started(case)
    for rig in (one, other):
        rig.wish(web=case.of("b:1"))
    for _ in range(20):
        assert one.turn() == other.turn()
        one.live()
        other.live()
