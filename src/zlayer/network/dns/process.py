"""`DnsProcess`: the name server as a process that outlives the daemon, adopted by its socket and kept alive."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from zlayer import __version__
from zlayer.model.errors import Conflict, Exhausted, Problem, Unavailable
from zlayer.model.zone import Zone
from zlayer.network.dns import zonefile
from zlayer.network.dns.control import LIMIT

log = structlog.get_logger(__name__)

START = 20.0
"""Seconds a server has to come up on a busy machine."""
ANSWER = 10.0
ENDS = 5.0
_PAUSE = 0.02


@dataclass(slots=True)
class _Line:
    """A connection to a running server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pid: int

    async def ask(self, order: bytes) -> dict[str, Any]:  # Any: JSON
        """OSError, TimeoutError or ValueError when there is no whole answer."""
        async with asyncio.timeout(ANSWER):
            self.writer.write(order + b"\n")
            await self.writer.drain()
            line = await self.reader.readline()
        if not line:
            raise ConnectionError("the name server hung up")
        found: dict[str, Any] = json.loads(line)
        return found


class DnsProcess:
    """Implements `NameServer` over `directory` (made 0700). `place` is called with the pid of a server just started."""

    def __init__(self, directory: Path, *, port: int = 53, place: Callable[[int], None] = lambda _pid: None) -> None:
        self._directory, self._port, self._place = directory, port, place
        self._line: _Line | None = None
        self._applied: bytes | None = None
        self._refused: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def apply(self, zone: Zone) -> None:
        async with self._turn:
            await self._apply(zonefile.encode(zone), needed=bool(zone.views))
        if self._refused:
            listed = "; ".join(f"{address}: {why}" for address, why in sorted(self._refused.items()))
            raise Conflict(
                f"names cannot be served on {listed}",
                hint="another name server has port 53 there: see `ss -lunp`, and keep it off the containers' bridges",
                problems=tuple(
                    Problem(f"names cannot be served on {address}: {self._refused[address]}", path=view.network)
                    for view in zone.views
                    for address in view.listen
                    if address in self._refused
                ),
            )

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._line is not None:
            self._line.writer.close()
        self._line = None

    async def destroy(self) -> None:
        async with self._turn:
            line = self._line or await self._connect()
            if line is not None:
                await self._end(line)
            await self.close()
            self._applied = None
            for name in ("zone.json", "zone.new", "dns.sock", "log"):
                (self._directory / name).unlink(missing_ok=True)
            with suppress(OSError):
                self._directory.rmdir()

    async def _apply(self, encoded: bytes, *, needed: bool) -> None:
        if encoded == self._applied and self._line is not None and not self._refused:
            return
        if self._line is None:
            self._line = await self._connect()
        if self._line is None and not needed:
            return  # nobody has a network: nobody asks
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            zonefile.write(self._directory / "zone.json", encoded)
        except OSError as error:
            raise Exhausted(f"the zone cannot be written: {error}", hint="free disk space") from error
        if self._line is None:
            self._line = await self._start()
        try:
            told = await self._line.ask(b'{"zone":%b,"digest":"%b"}' % (encoded, zonefile.digest(encoded).encode()))
        except (OSError, TimeoutError, ValueError) as error:
            self._forget()
            raise Unavailable(f"the name server does not answer: {error}", hint="it is started again") from error
        self._applied, self._refused = encoded, dict(told["refused"])

    def _forget(self) -> None:
        if self._line is not None:
            self._line.writer.close()
        self._line, self._applied = None, None

    async def _connect(self) -> _Line | None:
        """The server that runs, if it is of our version; an older one is replaced while it goes on serving."""
        line = await _open(self._directory / "dns.sock")
        if line is None:
            return None
        try:
            told = await line.ask(b'{"hello":1}')
        except (OSError, TimeoutError, ValueError):
            line.writer.close()
            return None
        if told["version"] == __version__:
            self._attend(line)
            return line
        fresh = await self._start()
        await self._end(line)
        return fresh

    async def _start(self) -> _Line:
        before = await _open(self._directory / "dns.sock")
        old = before.pid if before is not None else 0
        if before is not None:
            before.writer.close()
        self._child = await asyncio.to_thread(self._spawn)
        self._place(self._child.pid)
        try:
            async with asyncio.timeout(START):
                while True:
                    line = await _open(self._directory / "dns.sock")
                    if line is not None and line.pid != old:
                        break
                    if line is not None:
                        line.writer.close()
                    if self._child.poll() is not None:
                        raise Unavailable("the name server did not start", hint=f"see {self._directory / 'log'}")
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise Unavailable("the name server did not start in time", hint="the machine may be overloaded") from None
        log.info("dns.started", pid=line.pid)
        self._attend(line)
        return line

    def _spawn(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "zlayer.network.dns", str(self._directory), str(self._port)]
        with (self._directory / "log").open("wb") as out:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/",
                env={k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX")},
            )  # fmt: skip

    def _attend(self, line: _Line) -> None:
        """Start it again, by the zone on disk, as soon as the kernel tells that it has ended."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.ensure_future(self._restart_when_gone(line))

    async def _restart_when_gone(self, line: _Line) -> None:
        with suppress(ProcessLookupError):
            await _ended(line.pid)
        if self._child is not None:
            self._child.poll()
        log.warning("dns.ended", pid=line.pid)
        async with self._turn:
            if self._line is line:
                self._forget()
                try:
                    self._line = await self._start()
                except (Unavailable, OSError) as error:  # the next apply tries again
                    log.warning("dns.restart_failed", error=str(error))

    async def _end(self, line: _Line) -> None:
        if self._watch is not None and self._line is line:
            self._watch.cancel()
        try:
            await line.ask(b'{"end":1}')
            async with asyncio.timeout(ENDS):
                await _ended(line.pid)
        except (OSError, TimeoutError, ValueError):
            with suppress(ProcessLookupError):
                os.kill(line.pid, signal.SIGKILL)
        if self._child is not None and self._child.pid == line.pid:
            await asyncio.to_thread(self._child.wait)


async def _open(path: Path) -> _Line | None:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LIMIT)
    except OSError:
        return None
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = struct.unpack("=iII", peer)[0]
    if pid == 0:  # asyncio takes the EAGAIN of a full backlog for a connection: it is nobody's
        writer.close()
        return None
    return _Line(reader, writer, pid)


async def _ended(pid: int) -> None:
    """Returns when the process has. ProcessLookupError when there is none."""
    fd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(fd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
