"""Health checks, from the node (tcp, http) or inside the container (command)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from zlayer.model.container import CommandCheck, Health, HttpCheck, TcpCheck
from zlayer.model.errors import ZlayerError
from zlayer.runtime.contract import ExecRequest, FullRuntime, Handle

_EAGER, _EAGER_INSIDE = 0.02, 0.1
"""Seconds between the first two probes: from the node, and of a command, which is a process each."""
_OUTPUT = 512


@dataclass(frozen=True, slots=True)
class Answer:
    """One probe's outcome; `reason` explains a failure with what was seen."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed. `address` None: the host's own (host networking)."""

    handle: Handle
    address: str | None


async def watch(health: Health, target: Target, runtime: FullRuntime) -> AsyncIterator[tuple[bool, str]]:
    """Yields (healthy, reason) whenever the verdict changes, for as long as the caller listens.

    Healthy after one success. Unhealthy after `retries` failures in a row, none counted within `start_grace` unless
    it was healthy before. Until the first success it probes eagerly, then every `interval`, failing or not, so that a
    recovery is seen as soon as a failure.
    """
    began = anyio.current_time()
    verdict: bool | None = None
    failures = 0
    eager = _EAGER_INSIDE if isinstance(health.check, CommandCheck) else _EAGER
    pause = min(eager, health.interval)
    while True:
        answer = await check(health, target, runtime)
        if answer.ok:
            failures = 0
            if verdict is not True:
                verdict = True
                yield True, ""
        elif verdict is not None or anyio.current_time() - began >= health.start_grace:
            failures += 1
            if failures >= health.retries and verdict is not False:
                verdict = False
                yield False, answer.reason
        await anyio.sleep(health.interval if verdict is not None else pause)
        pause = min(pause * 1.5, health.interval)


async def check(health: Health, target: Target, runtime: FullRuntime) -> Answer:
    """One probe within `timeout`. Never raises for what the container does."""
    address = target.address or "127.0.0.1"
    try:
        with anyio.fail_after(health.timeout):
            match health.check:
                case TcpCheck(port=port):
                    return await _tcp(address, port)
                case HttpCheck() as http:
                    return await _http(address, http)
                case CommandCheck(command=command):
                    return await _command(command, target.handle, runtime)
    except TimeoutError:
        return Answer(False, f"{_what(health)}: no answer within {health.timeout:g} s")


def _what(health: Health) -> str:
    match health.check:
        case TcpCheck(port=port):
            return f"tcp port {port}"
        case HttpCheck(port=port, path=path):
            return f"GET {path} on port {port}"
        case CommandCheck(command=command):
            return f"command {command!r}"


async def _tcp(address: str, port: int) -> Answer:
    try:
        async with _connected(address, port):
            return Answer(True)
    except OSError as error:
        return Answer(False, f"tcp port {port}: {_why(error)}")


@asynccontextmanager
async def _connected(address: str, port: int) -> AsyncIterator[socket.socket]:
    """A connection to an address, not a name: what a library does about names is most of what a probe would cost."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
        code = one.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(one)
            code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        yield one


async def _http(address: str, http: HttpCheck) -> Answer:
    request = (
        f"GET {http.path} HTTP/1.1\r\nHost: {http.host or f'{address}:{http.port}'}\r\n"
        "User-Agent: zlayer-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    what = f"GET {http.path} on port {http.port}"
    try:
        async with _connected(address, http.port) as connection:
            connection.send(request.encode())  # a fresh connection's buffer takes it whole
            head = b""
            while b"\r\n" not in head and len(head) < _OUTPUT:
                await anyio.wait_readable(connection)
                if not (piece := connection.recv(_OUTPUT)):
                    raise OSError("connection closed")
                head += piece
    except OSError as error:
        return Answer(False, f"{what}: {_why(error)}")
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    words = line.split(" ", 2)
    if not line.startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        return Answer(False, f"{what}: not an HTTP answer: {line[:80]!r}")
    if int(words[1]) != http.expect_status:
        return Answer(False, f"{what}: status {words[1]}, expected {http.expect_status}")
    return Answer(True)


async def _command(command: str, handle: Handle, runtime: FullRuntime) -> Answer:
    tail = b""
    try:
        async with await runtime.exec(handle, ExecRequest(argv=("/bin/sh", "-c", command))) as session:
            async for _, chunk in session.output():
                tail = (tail + chunk)[-_OUTPUT:]
            code = await session.wait()
    except ZlayerError as error:
        return Answer(False, f"command {command!r}: {error.message}")
    if code == 0:
        return Answer(True)
    last = tail.decode(errors="replace").strip().splitlines()[-1:]
    return Answer(False, f"command {command!r}: exit code {code}" + (f": {last[0]}" if last else ""))


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    return error.strerror or str(error)
