"""Certificates over the API (zlayer.api.routes.certificates)."""

from __future__ import annotations

import time

import pytest

from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.units import Timestamp
from zlayer.store.documents import encode

from .conftest import Stack, StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1/certificates"
DAY = 86400.0
ENDPOINTS = [
    {"name": "a", "protocol": "https", "port": 443, "target_port": 80, "host": "a.org"},
    {"name": "w", "protocol": "https", "port": 443, "target_port": 80, "host": "*.w.org"},
]


async def put(s: Stack, name: str, **fields: object) -> None:
    now = time.time()
    made = StoredCertificate(
        name=name, source="acme", chain="CHAIN", key="SEALED", not_before=Timestamp(now - 80 * DAY),
        not_after=Timestamp(now + 10 * DAY), renew_at=Timestamp(now - 20 * DAY), tried_at=Timestamp(now - DAY),
    )  # fmt: skip
    await s.services.store.commit({keys.certificate(name): encode(made.model_copy(update=fields))})
    await s.until(lambda: name in s.views.picture().certificates)


async def test_listed_shown_asked_for_and_told_by_status(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy(web={"endpoints": ENDPOINTS})
        await put(s, "a.org", last_error="the CA is gone", failures=1, next_try=Timestamp(time.time() + 5))
        await put(s, "old.org")
        listed = (await s.client.request("GET", V1)).json()
        assert [(one["name"], one["state"], one["users"]) for one in listed] == [
            ("*.w.org", "pending", ["shop/web/w"]),
            ("a.org", "expiring", ["shop/web/a"]),
            ("old.org", "unused", []),
        ]
        assert "SEALED" not in str(listed)
        shown = (await s.client.request("GET", f"{V1}/a.org")).json()
        assert (shown["chain"], shown["error"], shown["asked"]) == ("CHAIN", "the CA is gone", False)
        assert "SEALED" not in str(shown)
        wished = await s.client.request("POST", f"{V1}/a.org/renew")
        assert (wished.status, wished.json()["asked"]) == (202, True)
        first = await s.client.request("POST", f"{V1}/*.w.org/renew")
        assert (first.status, first.json()["state"], first.json()["asked"]) == (202, "pending", False)
        assert (await s.client.request("POST", f"{V1}/none.org/renew")).status == 404
        assert (await s.client.request("GET", f"{V1}/none.org")).status == 404
        status = (await s.client.request("GET", "/api/v1/status")).json()["certificates"]
        assert (status["total"], status["first_to_end"]) == (2, "a.org")
        assert [(one["name"], one["state"], one["error"]) for one in status["trouble"]] == [
            ("a.org", "expiring", "the CA is gone")
        ]


async def test_without_any(stack: StackFactory) -> None:
    async with stack() as s:
        assert (await s.client.request("GET", V1)).json() == []
        status = (await s.client.request("GET", "/api/v1/status")).json()["certificates"]
        assert status == {"total": 0, "first_to_end": None, "not_after": None, "trouble": []}
