"""Logins at registries (zlayer.api.routes.registries), and images under other names."""

from __future__ import annotations

import pytest

from zlayer.testing.fake_images import REFUSED

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_a_login_is_tried_kept_listed_and_forgotten(stack: StackFactory) -> None:
    async with stack() as s:
        body = {"registry": "ghcr.io", "username": "me", "password": "hush-hush"}
        done = await s.client.request("POST", f"{V1}/registries/login", body)
        assert done.json() == {"registry": "ghcr.io", "username": "me"}
        assert (await s.client.request("GET", f"{V1}/registries")).json() == [{"registry": "ghcr.io", "username": "me"}]
        refused = await s.client.request("POST", f"{V1}/registries/login", {**body, "password": REFUSED})
        assert refused.status == 403
        assert (await s.client.request("DELETE", f"{V1}/registries/ghcr.io")).status == 200
        assert (await s.client.request("DELETE", f"{V1}/registries/ghcr.io")).status == 404


async def test_a_password_is_not_told_back_by_an_error(stack: StackFactory) -> None:
    async with stack() as s:
        for body in ({"registry": 5, "username": "me", "password": "hush-hush"}, {"password": "hush-hush"}):
            answer = await s.client.request("POST", f"{V1}/registries/login", body)
            assert answer.status == 422
            assert "hush-hush" not in str(answer.json())


async def test_push_and_tag(stack: StackFactory) -> None:
    async with stack() as s:
        await s.client.request("POST", f"{V1}/images/pull", {"reference": "a:1"})
        tagged = await s.client.request("POST", f"{V1}/images/tag", {"source": "a:1", "target": "b:2"})
        assert tagged.json()["reference"] == "b:2"
        *told, last = (await s.client.request("POST", f"{V1}/images/push", {"reference": "b:2"})).lines()
        assert [item["phase"] for item in told] == ["done"]
        assert last["pushed"]["reference"] == "b:2"
        [line] = (await s.client.request("POST", f"{V1}/images/push", {"reference": "absent"})).lines()
        assert line["error"]["code"] == "not_found"
