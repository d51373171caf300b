"""Asking for a new certificate (zlayer.control.certificate_wishes)."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.control.certificate_wishes import CertificateWishes
from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.errors import Conflict, NotFound, Unavailable, Unsupported, ZlayerError
from zlayer.model.units import Timestamp
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore

pytestmark = pytest.mark.anyio
NOW = 1000.0


async def asked(**fields: Any) -> StoredCertificate:
    """A certificate after somebody asked for a new one."""
    async with MemoryStore() as store:
        one = StoredCertificate(name="a.org", source="acme", chain="c", **fields)
        await store.commit({keys.certificate("a.org"): encode(one)})
        revision = await CertificateWishes(store, lambda: NOW).renew("a.org")
        item = await store.get(keys.certificate("a.org"))
        assert item is not None
        assert item.modified == revision
        return StoredCertificate.model_validate_json(item.value)


@pytest.mark.parametrize("tried_at", [0.0, 999.0, 1000.0, 5000.0])
async def test_a_wish_is_open_whatever_the_clock_said_before(tried_at: float) -> None:
    found = await asked(tried_at=Timestamp(tried_at))
    assert found.asked_at > found.tried_at
    assert found.asked_at >= NOW


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"failures": 1, "last_error": "config.toml has no [acme]"}, Unsupported),
        ({"unused_since": 5.0}, Conflict),
        ({"held_until": 1600.0, "tried_at": 900.0, "failures": 1, "next_try": 950.0}, Unavailable),
    ],
)
async def test_what_would_be_in_vain_is_refused_with_why(fields: dict[str, Any], error: type[ZlayerError]) -> None:
    with pytest.raises(error) as raised:
        await asked(**fields)
    assert raised.value.retry_after == (600.0 if error is Unavailable else None)


async def test_a_hold_of_a_clock_that_has_gone_back_since_counts_for_nothing() -> None:
    found = await asked(
        held_until=Timestamp(9000.0), tried_at=Timestamp(8000.0), failures=1, next_try=Timestamp(8300.0)
    )
    assert found.asked_at > found.tried_at


async def test_one_that_is_not_there() -> None:
    async with MemoryStore() as store:
        with pytest.raises(NotFound):
            await CertificateWishes(store, lambda: NOW).renew("a.org")
