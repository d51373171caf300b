"""The part of the runtime suite about output: logs, exec, attach, stats."""

from __future__ import annotations

from dataclasses import replace

import anyio

from zlayer.model.errors import NotFound
from zlayer.runtime.contract import ExecRequest
from zlayer.testing.contracts import runtime_programs as programs
from zlayer.testing.contracts.runtime_programs import RuntimeBench
from zlayer.testing.contracts.runtime_steps import drained, lines, made, refused, saw


class LogContract:
    """logs."""

    async def test_lines_in_order_with_their_stream(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.CHATTY) as handle:
            await bench.runtime().wait(handle)
            seen = await lines(bench, handle)
            assert sorted((line.stream, line.data) for line in seen[:2]) == [("stderr", b"two"), ("stdout", b"one")]
            assert [(line.data, line.partial) for line in seen[2:]] == [(b"three", False), (b"four", True)]
            assert [line.at for line in seen] == sorted(line.at for line in seen)

    async def test_tail_and_since(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.CHATTY) as handle:
            await bench.runtime().wait(handle)
            whole = await lines(bench, handle)
            assert await lines(bench, handle, tail=2) == whole[2:]
            assert await lines(bench, handle, tail=0) == []
            assert await lines(bench, handle, tail=99) == whole
            directory = bench.directory(handle)
            late = [line async for line in bench.runtime().logs(directory, since=whole[2].at)]
            assert late == [line for line in whole if line.at >= whole[2].at]

    async def test_the_log_outlives_the_container(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.CHATTY) as handle:
            await bench.runtime().wait(handle)
            before = await lines(bench, handle)
            await bench.runtime().remove(handle)
            assert await lines(bench, handle) == before

    async def test_follow_ends_with_remove(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.POLITE) as handle:
            seen: list[bytes] = []
            first = anyio.Event()

            async def follow() -> None:
                async for line in bench.runtime().logs(bench.directory(handle), follow=True):
                    seen.append(line.data)
                    first.set()

            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                await first.wait()
                await bench.runtime().remove(handle)
            assert seen == [b"up"]

    async def test_no_log_is_no_lines(self, bench: RuntimeBench) -> None:
        directory = bench.request(programs.TRUE).directory
        assert [line async for line in bench.runtime().logs(directory, follow=True)] == []


class SessionContract:
    """exec, attach and stats."""

    async def test_exec_gives_output_and_code(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            session = await bench.runtime().exec(handle, ExecRequest(programs.EXEC_OUTPUT.argv))
            async with session:
                assert await drained(session) == (b"out\n", b"err\n", 5)

    async def test_exec_reads_stdin(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            request = ExecRequest(programs.EXEC_ECHO.argv, stdin=True)
            async with await bench.runtime().exec(handle, request) as session:
                await session.send(b"hello\n")
                await saw(session, b"hello\n")
                await session.send(b"")
                await session.close_stdin()
                assert await drained(session) == (b"", b"", 0)

    async def test_exec_of_nothing_is_127_and_of_a_plain_file_126(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            for execution, code in ((programs.EXEC_MISSING, 127), (programs.EXEC_DENIED, 126)):
                async with await bench.runtime().exec(handle, ExecRequest(execution.argv)) as session:
                    _, err, got = await drained(session)
                    assert got == code
                    assert err

    async def test_leaving_a_session_kills_it(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            async with await bench.runtime().exec(handle, ExecRequest(programs.EXEC_LONG.argv)):
                pass
            assert (await bench.runtime().state(handle)).phase == "running"

    async def test_execs_side_by_side(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            results: list[tuple[bytes, bytes, int | None]] = []

            async def run() -> None:
                async with await bench.runtime().exec(handle, ExecRequest(programs.EXEC_OUTPUT.argv)) as session:
                    results.append(await drained(session))

            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(run)
            assert results == [(b"out\n", b"err\n", 5)] * 4

    async def test_exec_ends_with_its_container(self, bench: RuntimeBench) -> None:
        request = ExecRequest(programs.EXEC_LONG.argv)
        async with made(bench, programs.SLEEP) as handle, await bench.runtime().exec(handle, request) as session:
            await bench.runtime().signal(handle, "SIGKILL")
            code = await session.wait()
            assert code == 137, code

    async def test_attach_before_start_misses_nothing(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.CHATTY, start=False) as handle, await bench.runtime().attach(handle) as it:
            await bench.runtime().start(handle)
            assert await drained(it) == (b"one\nthree\nfour", b"two\n", 0)

    async def test_attach_carries_stdin(self, bench: RuntimeBench) -> None:
        request = replace(bench.request(programs.CAT), stdin_open=True)
        handle = await bench.runtime().create(request)
        try:
            async with await bench.runtime().attach(handle) as session:
                await bench.runtime().start(handle)
                await session.send(b"ping\n")
                await saw(session, b"ping\n")
                await session.close_stdin()
                assert await session.wait() == 0
        finally:
            await bench.runtime().remove(handle)

    async def test_leaving_an_attach_kills_nothing(self, bench: RuntimeBench) -> None:
        async with made(bench, programs.SLEEP) as handle:
            async with await bench.runtime().attach(handle):
                pass
            assert (await bench.runtime().state(handle)).phase == "running"

    async def test_stats_while_it_runs(self, bench: RuntimeBench) -> None:
        request = bench.request(programs.SLEEP)
        limits = request.resources.model_copy(update={"memory": 64 << 20, "pids": 50})
        handle = await bench.runtime().create(replace(request, resources=limits))
        try:
            await bench.runtime().start(handle)
            stats = await bench.runtime().stats(handle)
            assert (stats.memory_limit, stats.pids_limit, stats.oom_kills) == (64 << 20, 50, 0)
            assert stats.pids >= 1
            assert stats.memory_peak >= stats.memory >= 0
            await bench.runtime().signal(handle, "SIGKILL")
            await bench.runtime().wait(handle)
            await refused(NotFound, bench.runtime().stats(handle))
        finally:
            await bench.runtime().remove(handle)
