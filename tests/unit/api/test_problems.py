"""Every failure is a problem document that names what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.api.edge import MAX_BODY, Edge
from zlayer.api.problems import MEDIA_TYPE
from zlayer.model.errors import BY_CODE, from_document
from zlayer.testing.asgi import AsgiClient, Reply

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


def problem(reply: Reply, status: int) -> dict[str, Any]:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == MEDIA_TYPE
    doc: dict[str, Any] = reply.json()
    assert doc["status"] == status
    assert doc["type"] == f"urn:zlayer:error:{doc['code']}"
    assert doc["code"] in BY_CODE
    assert doc["trace_id"] == reply.headers["x-request-id"]
    return doc


async def test_unknown_things_and_paths(stack: StackFactory) -> None:
    async with stack() as s:
        doc = problem(await s.client.request("GET", f"{V1}/deployments/absent"), 404)
        assert "absent" in doc["detail"]
        assert doc["hint"]
        assert "no such path" in problem(await s.client.request("GET", "/nope"), 404)["detail"]
        wrong = await s.client.request("PATCH", f"{V1}/deployments")
        assert wrong.headers["allow"] == "GET, POST"  # of two routes
        problem(wrong, 405)
        problem(await s.client.request("GET", f"{V1}/instances/absent"), 404)
        problem(await s.client.request("DELETE", f"{V1}/images/absent"), 404)


async def test_what_is_wrong_with_a_body_is_pointed_at(stack: StackFactory) -> None:
    async with stack() as s:
        bad_json = await s.client.request(
            "POST", f"{V1}/run", b"{not json", headers={"content-type": "application/json"}
        )
        assert "JSON" in problem(bad_json, 422)["detail"]
        fields = await s.client.request("POST", f"{V1}/run", {"image": 7, "memory": -1, "bogus": True})
        pointers = {error["pointer"] for error in problem(fields, 422)["errors"]}
        assert pointers == {"/image", "/memory", "/bogus"}
        text = await s.client.request("POST", f"{V1}/run", b"{}", headers={"content-type": "text/plain"})
        assert "Content-Type: application/json" in problem(text, 422)["detail"]
        problem(await s.client.request("POST", f"{V1}/deployments"), 422)
        query = await s.client.request("GET", f"{V1}/instances/x/logs?lines=many")
        assert problem(query, 422)["errors"][0]["pointer"] == "/query/lines"


async def test_a_broken_spec_tells_file_line_and_every_problem(stack: StackFactory) -> None:
    async with stack() as s:
        text = "version: v1\ndeployment: shop\nservices:\n  web: {imag: x}\n  db: {bogus: 1}\n"
        doc = problem(await s.client.request("POST", f"{V1}/deployments", {"spec": text, "file": "shop.yml"}), 422)
        assert {error["file"] for error in doc["errors"]} == {"shop.yml"}
        assert len(doc["errors"]) >= 2
        assert from_document(doc).problems[0].line > 0  # what a client makes of it


async def test_bodies_have_a_limit_known_or_not_in_advance(stack: StackFactory) -> None:
    async with stack() as s:
        told = await s.client.request("POST", f"{V1}/validate", headers={"content-length": str(MAX_BODY + 1)})
        problem(told, 413)
        big = b'{"spec": "' + b"x" * MAX_BODY + b'"}'
        problem(await s.client.request("POST", f"{V1}/validate", big), 413)


async def test_the_clients_request_id_is_kept_when_it_is_one(stack: StackFactory) -> None:
    async with stack() as s:
        kept = await s.client.request("GET", "/health/live", headers={"x-request-id": "abc-1"})
        assert kept.headers["x-request-id"] == "abc-1"
        assert kept.headers["date"].endswith("GMT")
        made = await s.client.request("GET", "/health/live", headers={"x-request-id": "no good\x01"})
        assert made.headers["x-request-id"] not in {"", "no good\x01"}


async def test_a_defect_says_nothing_of_the_inside() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("the secret is 42")

    reply = await AsgiClient(Edge(broken)).request("GET", "/x")
    doc = problem(reply, 500)
    assert b"secret" not in reply.body
    assert doc["hint"]


async def test_a_defect_behind_the_routes_is_a_problem_too(stack: StackFactory) -> None:
    async with stack(probe_runtimes=None) as s:
        problem(await s.client.request("GET", f"{V1}/runtimes"), 500)


async def test_no_cors_header_ever(stack: StackFactory) -> None:
    async with stack() as s:
        reply = await s.client.request("GET", "/health/live", headers={"origin": "https://evil.example"})
        assert not [name for name in reply.headers if name.startswith("access-control")]
