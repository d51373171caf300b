from __future__ import annotations

import pytest

from zlayer.model.instance import State
from zlayer.model.seen import Seen
from zlayer.testing.builders import deployment, service, status
from zlayer.testing.builders import seen as make


def _instance() -> Seen:
    from zlayer.plan.actions import Create
    from zlayer.plan.rollout import rollout

    [change] = rollout(deployment(web=service()), [], 1.0).changes
    assert isinstance(change, Create)
    return make(change.instance)


@pytest.mark.parametrize("state", list(State))
def test_only_a_ready_one_that_passes_its_check_serves(state: State) -> None:
    one = _instance()
    assert Seen(one.instance, status(one.instance, state)).ready == (state is State.READY)
    assert not Seen(one.instance, status(one.instance, state, health="unhealthy")).ready


def test_before_an_agent_has_spoken_the_place_tells() -> None:
    one = _instance()
    assert one.state is State.PENDING
    assert one.released
    placed = Seen(one.instance.model_copy(update={"node": "n1"}))
    assert placed.state is State.ASSIGNED
    assert not placed.released
