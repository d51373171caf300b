"""What every runtime driver must do. Subclass `RuntimeContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

from dataclasses import replace

import anyio

from zlayer.model.errors import Failed, Invalid, NotFound
from zlayer.model.units import Seconds
from zlayer.runtime.contract import ExecRequest, Exit
from zlayer.testing.contracts import runtime_programs as programs
from zlayer.testing.contracts.runtime_programs import RuntimeBench
from zlayer.testing.contracts.runtime_sessions import LogContract, SessionContract
from zlayer.testing.contracts.runtime_steps import has_printed, made, refused


class LifecycleContract:
    """create, start, wait, state, remove."""

    async def test_create_makes_a_process_that_waits(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.TRUE, start=False) as handle:
            observed = await bench.runtime().state(handle)
            assert (observed.phase, observed.pid, observed.exit) == ("created", handle.pid, None)
            assert handle.pid > 0

    async def test_create_again_returns_the_same_handle(self, bench: RuntimeBench) -> None:
        request = bench.request(programs.SLEEP)
        first = await bench.runtime().create(request)
        try:
            assert await bench.runtime().create(request) == first
            await bench.runtime().start(first)
            assert await bench.runtime().create(request) == first
        finally:
            await bench.runtime().remove(first)

    async def test_an_empty_argv_is_invalid(self, bench: RuntimeBench) -> None:
        await refused(Invalid, bench.runtime().create(replace(bench.request(programs.TRUE), argv=())))

    async def test_a_missing_program_is_told_and_leaves_nothing(self, bench: RuntimeBench) -> None:
        request = bench.request(programs.MISSING)
        error = await refused(Failed, bench.runtime().create(request))
        assert "/no/such/program" in error.message
        assert request.id not in {h.id for h in await bench.runtime().list()}

    async def test_start_twice_is_once(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            await bench.runtime().start(handle)
            assert (await bench.runtime().state(handle)).phase == "running"

    async def test_exit_codes_pass(self, bench: RuntimeBench) -> None:
        for program, code in ((programs.TRUE, 0), (programs.EXIT_3, 3), (programs.SOON, 4)):
            async with made(bench, program) as handle:
                ended = await bench.runtime().wait(handle)
                assert (ended.code, ended.oom) == (code, False)
                observed = await bench.runtime().state(handle)
                assert (observed.phase, observed.pid, observed.exit) == ("exited", None, ended)
                assert await bench.runtime().wait(handle) == ended

    async def test_start_after_the_end_is_no_error(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.TRUE) as handle:
            ended = await bench.runtime().wait(handle)
            await bench.runtime().start(handle)
            assert (await bench.runtime().state(handle)).exit == ended

    async def test_many_can_wait(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SOON) as handle:
            ended: list[Exit] = []

            async def wait() -> None:
                ended.append(await bench.runtime().wait(handle))

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(wait)
            assert [e.code for e in ended] == [4, 4, 4]

    async def test_remove_kills_and_is_idempotent(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            await bench.runtime().remove(handle)
            assert (await bench.runtime().state(handle)).phase == "absent"
            await bench.runtime().remove(handle)
            assert handle.id not in {h.id for h in await bench.runtime().list()}

    async def test_remove_wakes_who_waits(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle, anyio.create_task_group() as group:
            ended: list[Exit] = []

            async def wait() -> None:
                ended.append(await bench.runtime().wait(handle))

            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await bench.runtime().remove(handle)
        assert len(ended) == 1

    async def test_a_removed_container_is_not_found(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.TRUE) as handle:
            await bench.runtime().remove(handle)
            await refused(NotFound, bench.runtime().start(handle))
            await refused(NotFound, bench.runtime().wait(handle))
            await refused(NotFound, bench.runtime().exec(handle, ExecRequest(("true",))))

    async def test_an_id_can_be_used_again_after_remove(self, bench: RuntimeBench) -> None:
        request = bench.request(programs.EXIT_3)
        for _ in range(2):
            handle = await bench.runtime().create(request)
            await bench.runtime().start(handle)
            assert (await bench.runtime().wait(handle)).code == 3
            await bench.runtime().remove(handle)

    async def test_list_holds_what_is_there(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as one, made(bench, programs.TRUE, start=False) as two:
            assert {one, two} <= set(await bench.runtime().list())


class StopContract:
    """stop and signal."""

    async def test_a_polite_one_ends_by_itself(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.POLITE) as handle:
            await has_printed(bench, handle)
            ended = await bench.runtime().stop(handle, "SIGTERM", Seconds(30))
            assert ended.code in (7, 143)
            assert await bench.runtime().stop(handle, "SIGTERM", Seconds(30)) == ended

    async def test_a_stubborn_one_is_killed_after_the_grace(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.STUBBORN) as handle:
            await has_printed(bench, handle)
            began = anyio.current_time()
            ended = await bench.runtime().stop(handle, "SIGTERM", Seconds(0.5))
            assert ended.code == 137
            assert anyio.current_time() - began >= 0.5

    async def test_one_that_never_started_ends_too(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP, start=False) as handle:
            ended = await bench.runtime().stop(handle, "SIGTERM", Seconds(0.1))
            assert ended.code == 137
            assert (await bench.runtime().state(handle)).phase == "exited"

    async def test_stop_of_what_ended_tells_its_exit(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.EXIT_3) as handle:
            ended = await bench.runtime().wait(handle)
            assert await bench.runtime().stop(handle, "SIGTERM", Seconds(5)) == ended

    async def test_stop_of_what_is_gone_is_no_error(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.TRUE) as handle:
            await bench.runtime().remove(handle)
            assert (await bench.runtime().stop(handle, "SIGTERM", Seconds(5))).code is None

    async def test_signals(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            await refused(Invalid, bench.runtime().signal(handle, "SIGNONSENSE"))
            await bench.runtime().signal(handle, "SIGKILL")
            assert (await bench.runtime().wait(handle)).code == 137
            await bench.runtime().signal(handle, "SIGHUP")

    async def test_pause_stops_and_resume_goes_on(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            await bench.runtime().pause(handle)
            assert (await bench.runtime().state(handle)).phase == "running"
            await bench.runtime().resume(handle)
            await bench.runtime().pause(handle)
            assert (await bench.runtime().stop(handle, "SIGKILL", Seconds(5))).code == 137


class RestartContract:
    """A daemon that dies and comes back loses nothing."""

    async def test_what_runs_is_adopted(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            runtime = await bench.restart()
            observed = await runtime.recover(handle)
            assert (observed.phase, observed.pid) == ("running", handle.pid)
            assert handle in await runtime.list()
            assert (await runtime.stop(handle, "SIGKILL", Seconds(5))).code == 137

    async def test_what_was_created_can_be_started(self, bench: RuntimeBench) -> None:
        request = bench.request(programs.EXIT_3)
        handle = await bench.runtime().create(request)
        runtime = await bench.restart()
        try:
            assert (await runtime.recover(handle)).phase == "created"
            assert await runtime.create(request) == handle
            await runtime.start(handle)
            assert (await runtime.wait(handle)).code == 3
        finally:
            await runtime.remove(handle)

    async def test_what_ended_meanwhile_tells_its_code(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SOON) as handle:
            runtime = await bench.restart()
            assert (await runtime.wait(handle)).code == 4
            again = await bench.restart()
            observed = await again.recover(handle)
            assert observed.exit is not None
            assert (observed.phase, observed.exit.code) == ("exited", 4)

    async def test_what_was_removed_is_absent(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.TRUE) as handle:
            await bench.runtime().remove(handle)
            assert (await (await bench.restart()).recover(handle)).phase == "absent"


class RuntimeContract(LifecycleContract, StopContract, RestartContract, LogContract, SessionContract):
    """The whole suite. Give it a fixture `bench: RuntimeBench`."""
