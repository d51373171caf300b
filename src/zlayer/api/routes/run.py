"""One-off instances over HTTP and WebSocket."""

from __future__ import annotations

from fastapi import WebSocket
from starlette.responses import Response

from zlayer.api import oneoff
from zlayer.api.answer import documented, ref
from zlayer.api.answers import RunItem
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import RunBody
from zlayer.api.channel import Channel, first_message
from zlayer.api.oneoff import OneOff
from zlayer.api.services import Api
from zlayer.api.streams import NDJSON, Emit, Stream
from zlayer.api.wellformed import check_run

router = area(prefix=V1, tag="run")


@router.post(
    "/run",
    summary="Run a one-off instance to its end",
    description="NDJSON: `pulling` (any number), `created`, `output` (any number), `exited`, and with `rm` `removed`; "
    'a failure is a last line `{"error": problem}`. With `rm`, hanging up removes the instance; without it the '
    "instance goes on. With `detach` the stream ends once it runs.",
    responses=documented(ref(RunItem), media_type=NDJSON, what="What happens, line by line", errors=(422,)),
)
async def run(api: Api, body: RunBody) -> Response:
    check_run(body, live=False)

    async def produce(emit: Emit) -> None:
        await oneoff.stream(api, body, emit)

    return Stream(produce, stopping=api.stopping)


@router.websocket("/run")
async def run_live(api: Api, websocket: WebSocket) -> None:
    """First message: a RunBody as JSON. Then steps as text, stdio as frames (see `channel`), last the exit code."""
    body = await first_message(websocket, RunBody)
    check_run(body, live=True)
    channel = Channel(websocket, api.stopping)
    async with OneOff(api, body, channel.tell) as one:
        await channel.unless_gone(one.create)
        code: int | None = None
        session = await channel.unless_gone(one.attach)
        if session is not None:
            async with session:
                if body.tty and body.rows and body.columns:
                    await session.resize(body.rows, body.columns)
                code = await channel.pump(session, lambda name: api.agent.signal(one.id, name))
        code = await one.ended(code)
        await one.removed()
    await channel.end({"exit_code": code})
