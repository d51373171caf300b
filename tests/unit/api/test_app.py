"""The OpenAPI document, made of zlayer.api.answers and zlayer.api.objects: every description is true."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from zlayer.api import answers, bodies, objects
from zlayer.api.answer import documented, ref
from zlayer.api.app import ROUTERS
from zlayer.api.area import area
from zlayer.api.authorise import authorise
from zlayer.runtime.contract import CreateRequest
from zlayer.testing.builders import spec_text
from zlayer.testing.fake_machine import Behaviour

from .conftest import Stack, StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"
SHOP = f"{V1}/deployments/shop"
NAMED = f"{V1}/deployments/{{deployment}}"
SPEC = {"spec": spec_text("shop", web={}), "file": "shop.yml"}
REQUESTS: tuple[tuple[str, str, str, Any], ...] = (
    ("GET", "/health/live", "/health/live", None),
    ("GET", "/health/ready", "/health/ready", None),
    ("GET", f"{V1}/status", f"{V1}/status", None),
    ("GET", f"{V1}/nodes", f"{V1}/nodes", None),
    ("GET", f"{V1}/runtimes", f"{V1}/runtimes", None),
    ("POST", f"{V1}/validate", f"{V1}/validate", {"spec": "bogus: 1"}),
    ("POST", f"{V1}/deployments:plan", f"{V1}/deployments:plan", SPEC),
    ("POST", f"{V1}/deployments", f"{V1}/deployments", SPEC),
    ("POST", f"{V1}/deploy", f"{V1}/deploy", SPEC),
    ("PUT", NAMED, SHOP, SPEC),
    ("GET", f"{V1}/deployments", f"{V1}/deployments", None),
    ("GET", NAMED, SHOP, None),
    ("GET", f"{NAMED}/services", f"{SHOP}/services", None),
    ("GET", f"{NAMED}/services/{{service}}", f"{SHOP}/services/web", None),
    ("GET", f"{NAMED}/services/{{service}}/containers", f"{SHOP}/services/web/containers", None),
    ("POST", f"{NAMED}/services/{{service}}/exec", f"{SHOP}/services/web/exec", {"command": ["id"]}),
    ("POST", f"{NAMED}/services/{{service}}/scale", f"{SHOP}/services/web/scale", {"replicas": 1}),
    ("POST", f"{NAMED}/scale", f"{SHOP}/scale", {"services": {"web": 1}}),
    ("GET", f"{V1}/instances", f"{V1}/instances", None),
    ("GET", f"{V1}/certificates", f"{V1}/certificates", None),
    ("GET", f"{V1}/images", f"{V1}/images", None),
    ("GET", f"{V1}/images/{{reference}}", f"{V1}/images/example.test/app:1", None),
    ("GET", f"{NAMED}/logs", f"{SHOP}/logs", None),
    ("GET", f"{V1}/events", f"{V1}/events", None),
    ("POST", f"{V1}/run", f"{V1}/run", {"image": "example.test/app:1", "rm": True, "command": ["once"]}),
    ("POST", f"{NAMED}/stop", f"{SHOP}/stop", {"service": "web"}),
    ("POST", f"{NAMED}/start", f"{SHOP}/start", {}),
    ("DELETE", NAMED, SHOP, None),
)


def script(request: CreateRequest) -> Behaviour:
    return Behaviour(exit_after=0.0 if "once" in request.argv else None, output=(("stdout", b"hello\n"),))


async def test_what_is_answered_is_what_is_described(stack: StackFactory) -> None:
    async with stack(script) as s:
        await s.deploy()
        document = (await s.client.request("GET", "/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        [row] = s.views.instances()
        by_id = tuple(
            ("GET", f"{V1}/instances/{{instance}}{more}", f"{V1}/instances/{row['id']}{more}", None)
            for more in ("", "/stats", "/logs")
        )
        for method, path, target, body in (*by_id, *REQUESTS):
            await check(s, document, (method, path), target, body)


async def check(s: Stack, document: dict[str, Any], operation: tuple[str, str], target: str, body: Any) -> None:
    method, path = operation
    reply = await s.client.request(method, target, body)
    responses = document["paths"][path][method.lower()]["responses"]
    assert str(reply.status) in responses, (operation, reply.body)
    assert reply.status < 300, (operation, reply.body)
    media_type = reply.headers["content-type"].partition(";")[0]
    schema = {**responses[str(reply.status)]["content"][media_type]["schema"], "components": document["components"]}
    values = reply.lines() if media_type.endswith("ndjson") else [reply.json()]
    assert values, operation
    for value in values:
        Draft202012Validator(schema).validate(value)


async def test_problems_are_what_is_described(stack: StackFactory) -> None:
    async with stack() as s:
        document = (await s.client.request("GET", "/openapi.json")).json()
        schema = {"$ref": "#/components/schemas/ProblemDocument", "components": document["components"]}
        broken = {"spec": "version: v1\ndeployment: shop\nservices:\n  web: {imag: x}\n"}
        for reply in (
            await s.client.request("GET", SHOP),
            await s.client.request("POST", f"{V1}/deployments", broken),
            await s.client.request("POST", f"{V1}/run", {}),
        ):
            Draft202012Validator(schema).validate(reply.json())


def test_every_model_says_what_it_is_by_name_and_refuses_more() -> None:
    models = [
        model
        for module in (answers, objects, bodies)
        for model in vars(module).values()
        if isinstance(model, type) and model.__module__ == module.__name__ and hasattr(model, "model_config")
    ]
    assert len(models) > 25
    assert [model.__name__ for model in models if model.model_config.get("extra") != "forbid"] == []
    assert ref(answers.LogItem) == {"$ref": "#/components/schemas/LogItem"}
    assert set(documented(answers.Status, errors=(404,))) == {200, 401, 403, 404}


def test_a_router_asks_for_rights_by_itself() -> None:
    assert [each.dependency for each in area(tag="x").dependencies] == [authorise]
    assert all(authorise in {each.dependency for each in router.dependencies} for router in ROUTERS)


async def test_every_operation_is_described(stack: StackFactory) -> None:
    async with stack() as s:
        document = (await s.client.request("GET", "/openapi.json")).json()
        bare = [
            f"{method} {path}"
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if not operation.get("summary") or not any(code.startswith("2") for code in operation["responses"])
        ]
        assert bare == []
        assert _dangling(document) == set()


def _dangling(document: dict[str, Any]) -> set[str]:
    """References to schemas that are not there."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(document)
    return found - known
