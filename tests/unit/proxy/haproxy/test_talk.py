"""What is said to a running engine, and what is made of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.model.errors import Unavailable
from zlayer.model.routes import Server
from zlayer.model.units import Bytes
from zlayer.proxy.haproxy import accesslog, difference, master, picture, reading, runtime, statistics, worker
from zlayer.proxy.haproxy.difference import Command
from zlayer.proxy.haproxy.process import ACCESS
from zlayer.proxy.haproxy.settings import Settings

from .test_config import everything, written

pytestmark = pytest.mark.anyio
PROC = """#<PID>          <type>          <reloads>       <uptime>        <version>
4711            master          2               0d00h00m10s     2.6.12
# workers
4713            worker          0               0d00h00m01s     2.6.12
# old workers
4712            worker          1               0d00h00m09s     2.6.12
# programs

"""


def test_processes_of_a_master() -> None:
    found = reading.processes(PROC)
    assert found is not None
    assert (found.master, found.reloads, found.workers, found.old) == (4711, 2, (4713,), (4712,))
    assert reading.processes("Unknown command") is None
    assert reading.info("Name: HAProxy\nDescription: zlayer-1-2\n")["Description"] == "zlayer-1-2"
    assert reading.entries("0x55 key value|x\n") == {"key": "value|x"}


def stat(**row: object) -> str:
    names = ["pxname", "svname", "status", "scur", "qcur", "stot", "econ", "eresp", "rate"]
    names += [f"hrsp_{n}xx" for n in range(1, 6)]
    return "# " + ",".join(names) + "\n" + ",".join(str(row.get(name, 0)) for name in names) + "\n"


def test_counters_become_the_contracts(tmp_path: Path) -> None:
    want = written(everything(), tmp_path)
    table = everything()
    slot = want.slots["shop/web/http"]
    name = next(iter(want.servers[slot]))
    text = stat(pxname=f"be{slot}", svname=name, status="no check", scur=2, stot=9, econ=1)
    counts = list(reading.counts(text))
    whole = replace(counts[0], server=reading.WHOLE, total=9, responses={"2xx": 9})
    found = statistics.summary(table, want, [*counts, whole], {})["shop/web/http"]
    assert (found.servers["i1"].current, found.servers["i1"].errors, found.requests) == (2, 1, 9)
    assert (found.current, found.errors) == (2, 1)
    old = [replace(whole, current=3, errors=7, total=99)]
    found = statistics.summary(table, want, [whole], {"shop/web/http": whole}, [old])["shop/web/http"]
    assert (found.requests, found.errors, found.current) == (0, 0, 5), "what others counted is taken away"


def test_a_swap_adds_before_it_takes_away(tmp_path: Path) -> None:
    table = everything()
    have = written(table, tmp_path)
    moved = replace(table.backends[0], servers=(Server("i9", "10.64.0.9", 8080),))
    want = picture.wanted(replace(table, backends=(moved, *table.backends[1:])), have.structure, have.slots, {})
    said = [command.text for command in difference.difference(have, want, {}, "key")]
    added = next(n for n, text in enumerate(said) if text.startswith("add server"))
    off = next(n for n, text in enumerate(said) if "i1" in text and ("maint" in text or "disable" in text))
    assert added < off
    assert list(difference.difference(want, want, {}, "key")) == []


def test_a_log_is_rotated_in_place(tmp_path: Path) -> None:
    settings = Settings(log_size=Bytes(100))
    assert not accesslog.rotate(tmp_path, settings)
    path = tmp_path / ACCESS
    path.write_text("x" * 200)
    inode = path.stat().st_ino
    assert accesslog.rotate(tmp_path, settings)
    assert (path.stat().st_size, path.stat().st_ino) == (0, inode), "the engine keeps it open"
    assert (tmp_path / f"{ACCESS}.1").read_text() == "x" * 200
    assert accesslog.bound(settings) > 100


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Path]:
    """A socket that prompts, and says of each line how long it is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = b"" if line == b"prompt\n" else b"%d\n" % len(line)
            writer.write(answer + b"\n> ")
        writer.close()

    path = tmp_path / "s"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield path
    finally:
        server.close()


async def test_answers_come_in_order(engine: Path) -> None:
    found = await runtime.ask(engine, [Command("a"), Command("bbb")])
    assert [text.strip() for text in found] == ["2", "4"]


async def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await runtime.ask(tmp_path / "none", [Command("show info")])
    with pytest.raises(Unavailable):
        await master.processes(tmp_path)
    gone = worker.Worker(tmp_path, 1, written(everything(), tmp_path / "d"))
    assert gone.known == gone.picture
    assert await gone.ask([]) == []
    with pytest.raises(Unavailable):
        await gone.ask([Command("show stat")])
