"""What tests of the agent count on in the fake: scripts, faults, restarts, counting."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Failed, Unavailable
from zlayer.model.units import Seconds
from zlayer.runtime.contract import CreateRequest, ExecRequest
from zlayer.testing.fake_machine import Behaviour, FakeMachine
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.fake_session import FakeAttach

pytestmark = pytest.mark.anyio
REQUEST = CreateRequest(id="a", directory=Path("/f/a"), rootfs=Path("/f/a/r"), argv=("app",))


def runtime(behaviour: Behaviour) -> FakeRuntime:
    return FakeRuntime(FakeMachine(script=lambda _: behaviour))


async def test_create_fails_as_often_as_asked() -> None:
    fake = runtime(Behaviour(create_error=Unavailable("not now"), create_failures=2))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await fake.create(REQUEST)
    await fake.create(REQUEST)
    assert (fake.machine.attempts["a"], fake.machine.creates["a"]) == (3, 1)


async def test_start_can_fail() -> None:
    fake = runtime(Behaviour(start_error=Failed("no")))
    handle = await fake.create(REQUEST)
    with pytest.raises(Failed):
        await fake.start(handle)
    assert (await fake.state(handle)).phase == "created"


async def test_ready_later_is_told_to_probes() -> None:
    fake = runtime(Behaviour(ready_after=0.05))
    handle = await fake.create(REQUEST)
    await fake.start(handle)
    assert not fake.machine.ready("a")
    async with await fake.exec(handle, ExecRequest(("check",))) as session:
        assert await session.wait() == 1
    await anyio.sleep(0.06)
    assert fake.machine.ready("a")
    async with await fake.exec(handle, ExecRequest(("check",))) as session:
        assert await session.wait() == 0


async def test_a_daemon_killed_between_effect_and_record_adopts() -> None:
    class KilledError(Exception):
        pass

    def fault(operation: str, _name: str, when: str) -> None:
        if (operation, when) == ("create", "after"):
            raise KilledError

    machine = FakeMachine(fault=fault)
    with pytest.raises(KilledError):
        await FakeRuntime(machine).create(REQUEST)
    machine.fault = lambda *_: None
    handle = await FakeRuntime(machine).create(REQUEST)
    assert machine.creates["a"] == 1
    assert machine.most_at_once("a") == 1
    assert (await FakeRuntime(machine).list()) == [handle]


async def test_a_second_container_would_be_seen() -> None:
    machine = FakeMachine()
    machine.calls += [("create", "a"), ("create", "a"), ("remove", "a"), ("create", "a")]
    assert machine.most_at_once("a") == 2


async def test_killed_from_outside() -> None:
    fake = runtime(Behaviour())
    handle = await fake.create(REQUEST)
    await fake.start(handle)
    assert fake.machine.running() == ["a"]
    fake.machine.kill("a", oom=True)
    ended = await fake.wait(handle)
    assert (ended.code, ended.oom) == (137, True)
    assert (fake.machine.running(), fake.machine.most_running) == ([], 1)


async def test_a_stubborn_one_takes_its_grace() -> None:
    fake = runtime(Behaviour(ignore_term=True))
    handle = await fake.create(REQUEST)
    await fake.start(handle)
    began = anyio.current_time()
    assert (await fake.stop(handle, "SIGTERM", Seconds(0.1))).code == 137
    assert anyio.current_time() - began >= 0.1


async def test_sizes_are_kept_for_the_test_to_see() -> None:
    fake = runtime(Behaviour())
    session = await fake.attach(await fake.create(REQUEST))
    assert isinstance(session, FakeAttach)
    await session.resize(10, 20)
    assert session.sizes == [(10, 20)]


async def test_a_killed_monitor_is_told_and_the_code_unknown() -> None:
    fake, doubts = runtime(Behaviour()), list[str]()
    handle = await fake.create(REQUEST)
    await fake.start(handle)
    fake.machine.kill_monitor("a")
    async with anyio.create_task_group() as group:
        group.start_soon(fake.wait, handle, doubts.append)
        await anyio.lowlevel.checkpoint()
        fake.machine.kill("a", 3)
    assert len(doubts) == 1
    assert (await fake.wait(handle)).code is None
