"""The lifecycle table: from every stage there is a way up, a way down, and a rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.instance import DesiredState
from zlayer.plan.lifecycle import Do, Position, Rest, Stage, next_step

UP = {"pull": Stage.PULLED, "prepare": Stage.PREPARED, "create": Stage.CREATED}
AFTER = {
    **UP,
    "start": Stage.STARTED,
    "stop": Stage.ENDED,
    "release": Stage.RELEASED,
    "forget": Stage.GONE,
}
WISHES: tuple[DesiredState | None, ...] = ("running", "stopped", "removed", None)


def walk(stage: Stage, desired: DesiredState | None) -> list[str]:
    steps: list[str] = []
    while isinstance(step := next_step(Position(stage, desired, created=True), 0.0), Do):
        steps.append(step.verb)
        assert AFTER[step.verb] > stage, "a stage only grows"
        stage = AFTER[step.verb]
    assert step == Rest()
    return steps


def test_the_way_up_and_the_way_down() -> None:
    assert walk(Stage.NEW, "running") == ["pull", "prepare", "create", "start"]
    assert walk(Stage.STARTED, "removed") == ["stop", "release", "forget"]
    assert walk(Stage.STARTED, "stopped") == ["stop", "release"]
    assert walk(Stage.RELEASED, None) == ["forget"]


@given(stage=st.sampled_from(Stage), wishes=st.lists(st.sampled_from(WISHES), max_size=8))
def test_from_anywhere_any_wish_comes_to_rest_and_never_goes_back(
    stage: Stage, wishes: list[DesiredState | None]
) -> None:
    for desired in wishes:
        step = next_step(Position(stage, desired, created=True), 0.0)
        if isinstance(step, Do):
            assert AFTER[step.verb] > stage
            stage = AFTER[step.verb]
    walk(stage, "removed")


def test_an_ended_instance_is_taken_apart_whatever_is_wanted() -> None:
    for desired in WISHES:
        assert walk(Stage.ENDED, desired)[:1] == ["release"]


def test_a_retry_waits_for_its_time() -> None:
    position = Position(Stage.NEW, "running", created=False, retry_at=10.0)
    assert next_step(position, 9.0) == Rest(10.0)
    assert next_step(position, 10.0) == Do("pull")


def test_one_that_awaits_a_client_starts_when_it_has_attached() -> None:
    waiting = Position(Stage.CREATED, "running", created=True, await_attach=True)
    assert next_step(waiting, 0.0) == Rest()
    late = Position(Stage.CREATED, "running", created=True, await_attach=True, attach_by=60.0)
    assert next_step(late, 59.0) == Rest(60.0)
    assert next_step(late, 60.0) == Do("stop")
    attached = Position(Stage.CREATED, "running", created=True, await_attach=True, attached=True)
    assert next_step(attached, 0.0) == Do("start")
