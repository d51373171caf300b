"""Exec without a live connection: run, collect, answer."""

from __future__ import annotations

from zlayer.api.bodies import ExecBody, ExecStart
from zlayer.model.units import Bytes
from zlayer.runtime.contract import ExecRequest, Session

MAX_OUTPUT = Bytes(8 * 1024 * 1024)
"""Bytes kept of stdout and stderr together; the command runs on, its further output is dropped and told so."""


def exec_request(body: ExecBody) -> ExecRequest:
    live = isinstance(body, ExecStart)
    return ExecRequest(
        argv=body.command,
        env=body.env,
        cwd=body.workdir,
        user=body.user,
        tty=isinstance(body, ExecStart) and body.tty,
        stdin=live and isinstance(body, ExecStart) and body.stdin,
    )


async def collect(session: Session) -> dict[str, object]:
    """The exit code and what it said, once it has ended."""
    said = {"stdout": bytearray(), "stderr": bytearray()}
    room, truncated = int(MAX_OUTPUT), False
    async for stream, chunk in session.output():
        said[stream] += chunk[:room]
        truncated = truncated or len(chunk) > room
        room = max(0, room - len(chunk))
    return {
        "exit_code": await session.wait(),
        "stdout": said["stdout"].decode("utf-8", "replace"),
        "stderr": said["stderr"].decode("utf-8", "replace"),
        "truncated": truncated,
    }
