"""The daemon and its machine: status, nodes, runtimes, events, and whether a spec is valid."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from zlayer.api.answer import answer, documented, ref
from zlayer.api.answers import EventItem, NodeItem, RuntimeItem, Status, Verdict
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import SpecBody
from zlayer.api.process import rss_bytes
from zlayer.api.services import Api
from zlayer.api.streams import NDJSON, Emit, Stream
from zlayer.api.tiers import standing
from zlayer.api.times import parse_since, rfc3339
from zlayer.model import keys
from zlayer.model.errors import Invalid, Problem
from zlayer.model.instance import Event, Node
from zlayer.spec.compile import base_of, compile_deployment
from zlayer.spec.load import load

router = area(prefix=V1, tag="system")


@router.get("/status", summary="The daemon itself", responses=documented(Status))
async def status(api: Api) -> Response:
    facts = api.facts
    instances = api.views.instances()
    return answer(
        {
            "version": facts.version,
            "pid": facts.pid,
            "data_dir": facts.data_dir,
            "socket": facts.socket,
            "bind": facts.bind,
            "uptime_secs": round(time.time() - facts.started_at, 3),
            "node": facts.node,
            "runtime": facts.runtime,
            "rootfs": facts.rootfs,
            "deployments": len(api.views.deployments()),
            "instances": {
                "running": sum(one["state"] == "running" for one in instances),
                "total": len(instances),
            },
            "rss_bytes": rss_bytes(),
            "failing": dict(api.agent.traffic.failing()) if api.agent.traffic is not None else {},
            "certificates": api.views.certificates_summary(time.time()),
            "s3": standing(await api.agent.images.stock.tier()),
        }
    )


@router.get("/nodes", summary="Machines that run instances", responses=documented(list[NodeItem]))
async def nodes(api: Api) -> Response:
    listing = await api.store.list(keys.NODES)
    found = (Node.model_validate_json(item.value) for item in listing.items)
    return answer([node.model_dump() | {"seen_at": rfc3339(node.seen_at)} for node in found])


@router.get(
    "/runtimes",
    summary="What can run containers here, found by trying",
    responses=documented(list[RuntimeItem]),
)
async def runtimes(api: Api) -> Response:
    return answer(list(await api.probe_runtimes()))


@router.get(
    "/events",
    summary="What happened, oldest first",
    responses=documented(ref(EventItem), media_type=NDJSON, what="One event per line", errors=(422,)),
)
async def events(
    api: Api,
    follow: Annotated[bool, Query(description="Go on with what happens next")] = False,
    since: Annotated[str | None, Query(description="A time, or how long ago: 10m")] = None,
) -> Response:
    start = parse_since(since, time.time())

    async def produce(emit: Emit) -> None:
        async for event in api.views.events(start, follow=follow):
            await emit(event_json(event))

    return Stream(produce, stopping=api.stopping)


@router.post("/validate", summary="Check a spec; nothing is kept", responses=documented(Verdict))
async def validate(body: SpecBody) -> Response:
    try:
        compile_deployment(load(body.spec, file=body.file), environ=os.environ, base=base_of(body.file))
    except Invalid as error:
        problems = error.document().get("errors") or [_bare(error)]
        return answer({"valid": False, "errors": problems})
    return answer({"valid": True, "errors": []})


def event_json(event: Event) -> dict[str, object]:
    return {**event.model_dump(exclude={"schema_version"}), "at": rfc3339(event.at)}


def _bare(error: Invalid) -> dict[str, object]:
    return {**asdict(Problem(error.message)), "pointer": ""}
