"""What a new daemon makes of what is left of an instance, and of what only the store still knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from zlayer.agent.journal import Record
from zlayer.agent.recover import mood_of, remembered, widowed
from zlayer.agent.status import Mood
from zlayer.model import keys
from zlayer.model.instance import InstanceStatus, State
from zlayer.model.units import Timestamp
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import Exit, Handle
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import container, spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import World

NOW = Timestamp(100)
HANDLE = Handle("fake", "a", "/c/a", 12)


def told(state: State, **fields: object) -> InstanceStatus:
    return InstanceStatus.model_validate({"id": "a", "node": "n1", "state": state, **fields})


def test_without_a_status_the_journal_stands() -> None:
    assert remembered(Record(), None, NOW) == Record()
    assert remembered(Record(), told(State.PREPARING), NOW) == Record(), "nothing had been made: begin again"


def test_what_ran_and_left_no_trace_has_ended() -> None:
    found = remembered(Record(), told(State.READY), NOW)
    assert (found.stage, found.created, found.failed) == (Stage.ENDED, True, True)
    assert found.exit == Exit(None, False, NOW)
    assert "directory is gone" in found.reason


def test_what_had_ended_by_its_status_keeps_its_end() -> None:
    ended = told(State.EXITED, exit_code=7, finished_at=9)
    assert remembered(Record(), ended, NOW).exit == Exit(7, False, Timestamp(9))
    assert remembered(Record(), ended, NOW).stage is Stage.ENDED, "what it held is still to be given back"
    released = ended.model_copy(update={"released": True})
    assert remembered(Record(), released, NOW).stage is Stage.ENDED, "taken apart again, should there be a trace"


def test_an_exit_code_only_the_store_knows_is_kept() -> None:
    vanished = Record(Stage.ENDED, handle=HANDLE, exit=Exit(None, False, NOW))
    assert remembered(vanished, told(State.EXITED, exit_code=3, finished_at=9), NOW).exit == Exit(
        3, False, Timestamp(9)
    )
    assert remembered(vanished, told(State.READY), NOW).exit == Exit(None, False, NOW)


def test_a_start_that_was_told_is_not_told_anew() -> None:
    adopted = Record(Stage.STARTED, handle=HANDLE, started_at=NOW)
    found = remembered(adopted, told(State.READY, started_at=5, ready_at=6), NOW)
    assert (found.started_at, found.ready_at) == (Timestamp(5), Timestamp(6))


@pytest.mark.parametrize("stage", list(Stage))
def test_only_what_has_not_started_is_given_up_with_its_client(stage: Stage) -> None:
    record = Record(stage, created=True, handle=HANDLE)
    found = widowed(record, NOW)
    if stage >= Stage.STARTED:
        assert found == record
    else:
        assert (found.stage, found.failed, found.handle) == (Stage.ENDED, True, HANDLE)


def test_a_sick_replica_stays_sick_until_it_is_asked_again() -> None:
    assert mood_of(None) == Mood()
    assert mood_of(told(State.READY, health="unhealthy", reason="no answer")) == Mood("unhealthy", "no answer")
    assert mood_of(told(State.EXITED, health="none", reason="x")) == Mood()


def test_after_a_restart_a_sick_replica_does_not_pass_for_ready(tmp_path: Path) -> None:
    """Or the replacement of the last healthy one would go on."""

    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].machine.script = lambda _: Behaviour(ready_after=1e9)
            health = {"check": {"type": "command", "command": "ready"}, "interval": "1s", "retries": 1}
            await world.wishes.deploy(spec_text(web={"health": health}))
            await anyio.sleep(3)
            [one] = world.picture().of("shop")
            sick = told(State.READY, id=one.id, health="unhealthy", started_at=5, ready_at=6)
            world.restart()
            await world.store.commit({keys.status(one.id): sick.model_dump_json().encode()})
            told_since: list[InstanceStatus] = []
            with anyio.move_on_after(30):
                async for batch in world.store.watch(keys.status(one.id), 0):
                    items = [change.item for change in batch.changes if change.item is not None]
                    told_since += [InstanceStatus.model_validate_json(item.value) for item in items]
            assert told_since[-1].ready_at == Timestamp(6)
            assert [s.health for s in told_since if s.ready_at is not None] == ["unhealthy"] * len(told_since)

    run(story)


def test_a_client_of_an_earlier_daemon_is_not_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].images.seconds = 10
            kept = await world.wishes.run_once(container(), await_attach=True)
            gone = await world.wishes.run_once(container(), await_attach=True, remove_on_exit=True)
            await anyio.sleep(2)
            world.restart()
            await anyio.sleep(1)
            unplaced = await world.wishes.run_once(container(), await_attach=True)
            await anyio.sleep(20)
            seen = world.picture().all()
            assert gone.id not in seen
            status = seen[kept.id].status
            assert status is not None
            assert (status.state, status.reason) == (State.FAILED, "the client went away before it started")
            assert seen[unplaced.id].state is State.CREATED, "this one's client is of this daemon"
            assert world.nodes[0].machine.starts == Counter()

    run(story)


def test_one_that_vanishes_by_itself_is_not_run_again(tmp_path: Path) -> None:
    """The store is slow: the container has ended and its directory is gone before the store has heard it ran."""

    class Slow(MemoryStore):
        async def commit(self, puts: Mapping[str, bytes] | None = None, *args: Any, **kwargs: Any) -> int:
            if any(key.startswith(keys.STATUS) for key in puts or {}):
                await anyio.sleep(30)
            return await super().commit(puts, *args, **kwargs)

    async def story() -> None:
        async with World(tmp_path, store=Slow()) as world:
            machine = world.nodes[0].machine
            machine.script = lambda _: Behaviour(exit_after=1.0, exit_code=7)
            one = await world.wishes.run_once(container(), remove_on_exit=True)
            await anyio.sleep(20)
            assert machine.starts[one.id] == 1
            world.restart()
            await anyio.sleep(200)
            assert machine.starts[one.id] == 1, "it ran a second time"
            assert one.id not in world.picture().all()
            assert world.residue() == []
            assert list(world.nodes[0].paths.containers.iterdir()) == []

    run(story)
