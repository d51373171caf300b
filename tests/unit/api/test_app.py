"""The application as a whole: health, deployments and their life over the trusted door, and the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from zlayer.testing.builders import spec_text

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_health_says_ready_once_recovered_and_stopping_when_told(stack: StackFactory) -> None:
    async with stack() as s:
        ready = await s.client.request("GET", "/health/ready")
        assert (ready.status, ready.json()["status"]) == (200, "ok")
        s.services.stopping.set()
        assert (await s.client.request("GET", "/health/ready")).status == 503
        assert (await s.client.request("GET", "/health/live")).status == 200


async def test_a_deployment_from_plan_to_gone(stack: StackFactory) -> None:
    async with stack() as s:
        body = {"spec": spec_text("shop", web={"scale": {"mode": "fixed", "replicas": 2}}), "file": "shop.yml"}
        plan = (await s.client.request("POST", f"{V1}/deployments:plan", body)).json()
        assert plan["summary"] == {"create": 2, "replace": 0, "remove": 0, "keep": 0}
        done = await s.client.request("POST", f"{V1}/deployments", {**body, "revision": plan["revision"]})
        assert (done.status, done.json()) == (202, {"deployment": "shop", "revision": 1, "changed": True})
        listed = (await s.client.request("GET", f"{V1}/deployments")).json()
        assert [one["name"] for one in listed] == ["shop"]  # what was answered is seen at once
        await s.until(lambda: s.views.deployment("shop")["status"] == "running")
        again = (await s.client.request("PUT", f"{V1}/deployments/shop", body)).json()
        assert again == {"deployment": "shop", "revision": 1, "changed": False}
        rows = (await s.client.request("GET", f"{V1}/deployments/shop/services/web/containers")).json()
        assert [row["replica"] for row in rows] == [1, 2]
        assert (await s.client.request("DELETE", f"{V1}/deployments/shop")).status == 202
        await s.until(lambda: not s.views.deployments())
        assert (await s.client.request("GET", f"{V1}/deployments/shop")).status == 404


async def test_stop_start_scale_and_the_spec_text(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy(web={"scale": {"mode": "manual"}})
        text = await s.client.request("GET", f"{V1}/deployments/shop/spec")
        assert text.headers["content-type"].startswith("application/yaml")
        assert b"example.test/app:1" in text.body
        scaled = await s.client.request("POST", f"{V1}/deployments/shop/scale", {"services": {"web": 3}})
        assert scaled.status == 202
        await s.until(lambda: s.views.service("shop", "web")["ready"] == 3)
        one = await s.client.request("POST", f"{V1}/deployments/shop/services/web/scale", {"replicas": 1})
        assert one.status == 202
        assert (await s.client.request("POST", f"{V1}/deployments/shop/stop", {"service": "web"})).status == 202
        await s.until(lambda: s.views.service("shop", "web")["running"] == 0)
        assert (await s.client.request("POST", f"{V1}/deployments/shop/start")).status == 202
        await s.until(lambda: s.views.service("shop", "web")["ready"] == 1)


async def test_a_revision_that_is_not_the_latest_is_a_conflict(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        body = {"spec": spec_text("shop", web={}), "revision": 7}
        reply = await s.client.request("POST", f"{V1}/deployments", body)
        assert (reply.status, reply.json()["code"]) == (409, "conflict")
        wrong_name = await s.client.request("PUT", f"{V1}/deployments/other", {"spec": spec_text("shop", web={})})
        assert wrong_name.status == 422


async def test_status_counts_what_runs(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        status = (await s.client.request("GET", f"{V1}/status")).json()
        assert (status["deployments"], status["instances"]) == (1, {"running": 1, "total": 1})
        assert status["rss_bytes"] > 1 << 20


async def test_validate_tells_every_problem_and_keeps_nothing(stack: StackFactory) -> None:
    async with stack() as s:
        good = await s.client.request("POST", f"{V1}/validate", {"spec": spec_text("shop", web={})})
        assert good.json() == {"valid": True, "errors": []}
        bad = {"spec": "version: v1\ndeployment: shop\nservices:\n  web: {imag: x}\n  db: {bogus: 1}\n"}
        found = (await s.client.request("POST", f"{V1}/validate", bad)).json()
        assert not found["valid"]
        assert {error["line"] for error in found["errors"]} >= {4, 5}
        assert s.views.deployments() == []


async def test_the_openapi_document_describes_what_is_answered(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        document = (await s.client.request("GET", "/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        targets = {
            "/health/live": "/health/live",
            f"{V1}/status": f"{V1}/status",
            f"{V1}/nodes": f"{V1}/nodes",
            f"{V1}/runtimes": f"{V1}/runtimes",
            f"{V1}/images": f"{V1}/images",
            f"{V1}/images/{{reference}}": f"{V1}/images/example.test/app:1",
            f"{V1}/instances": f"{V1}/instances",
            f"{V1}/instances/{{instance}}/stats": f"{V1}/instances/{s.views.instances()[0]['id']}/stats",
            f"{V1}/deployments": f"{V1}/deployments",
            f"{V1}/deployments/{{deployment}}": f"{V1}/deployments/shop",
            f"{V1}/deployments/{{deployment}}/services/{{service}}": f"{V1}/deployments/shop/services/web",
        }
        for path, target in targets.items():
            reply = await s.client.request("GET", target)
            assert reply.status == 200, (target, reply.body)
            content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            Draft202012Validator({**content["schema"], "components": document["components"]}).validate(reply.json())


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
