"""What is written down of a certificate: by one issuer only, and never over what others wrote meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from zlayer.control.orders import Fence, Lost
from zlayer.control.records import Records
from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.errors import Failed
from zlayer.plan.certificates import due
from zlayer.plan.needs import Need
from zlayer.proxy.certs.sealing import FileSealer
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore

pytestmark = pytest.mark.anyio
NEED = Need("a.org", ("a.org",), "acme", "ca", ("shop/web/https", "shop/web/other"))


class Interrupted(MemoryStore):
    """Someone else writes the certificate just before our first write of it."""

    asked = 0.0

    async def commit(
        self, puts: Mapping[str, bytes] | None = None, deletes: Sequence[str] = (), *args: Any, **kwargs: Any
    ) -> int:
        key = keys.certificate("a.org")
        if not self.asked and puts and key in puts and keys.ISSUER not in puts:
            self.asked = 7.0
            other = StoredCertificate(name="a.org", source="acme", asked_at=7.0)
            await super().commit({key: encode(other)})
        return await super().commit(puts, deletes, *args, **kwargs)


async def test_what_a_user_asked_meanwhile_is_kept(tmp_path: Path) -> None:
    async with Interrupted() as store:
        fence = Fence(store, await store.commit({keys.ISSUER: b'"n1"'}))
        records = Records(fence, FileSealer(tmp_path / "key"), lambda: 9.0)
        await records.failed(NEED, Failed("no", hint="ask again"), began=5.0)
        found = await records.get("a.org")
        assert found is not None
        assert (found.asked_at, found.failures, found.last_error) == (7.0, 1, "no: ask again")
        assert due(NEED, found.model_copy(update={"chain": "c", "names": NEED.names, "authority": "ca"}), 9.0)
        [event] = (await store.list(keys.EVENTS)).items
        assert b'"deployment":"shop"' in event.value
        assert b"ask again" in event.value


async def test_the_same_trouble_is_told_once(tmp_path: Path) -> None:
    async with MemoryStore() as store:
        fence = Fence(store, await store.commit({keys.ISSUER: b'"n1"'}))
        records = Records(fence, FileSealer(tmp_path / "key"), lambda: 5.0)
        for words in ("no", "no", "still no", "still no"):
            await records.failed(NEED, Failed(words))
        found = await records.get("a.org")
        assert found is not None
        assert found.failures == 4
        assert len((await store.list(keys.EVENTS)).items) == 2


async def test_a_wish_about_files_that_are_as_they_were_is_answered(tmp_path: Path) -> None:
    async with MemoryStore() as store:
        fence = Fence(store, await store.commit({keys.ISSUER: b'"n1"'}))
        records = Records(fence, FileSealer(tmp_path / "key"), lambda: 9.0)
        asked = StoredCertificate(name="a.org", source="files", chain="c", asked_at=7.0, tried_at=5.0)
        await store.commit({keys.certificate("a.org"): encode(asked)})
        await records.well("a.org", "")
        found = await records.get("a.org")
        assert found is not None
        assert found.asked_at <= found.tried_at


async def test_one_that_ends_is_told_once_with_why(tmp_path: Path) -> None:
    async with MemoryStore() as store:
        fence = Fence(store, await store.commit({keys.ISSUER: b'"n1"'}))
        records = Records(fence, FileSealer(tmp_path / "key"), lambda: 5.0)
        await records.warn(NEED)
        old = StoredCertificate(name="a.org", source="acme", chain="c", not_after=86400.0, last_error="CA is gone")
        await store.commit({keys.certificate("a.org"): encode(old)})
        await records.warn(NEED)
        await records.warn(NEED)
        [event] = (await store.list(keys.EVENTS)).items
        assert b"a.org (acme) ends at 1970-01-02 00:00 UTC: CA is gone" in event.value


async def test_one_who_is_no_longer_the_issuer_writes_nothing(tmp_path: Path) -> None:
    async with MemoryStore() as store:
        fence = Fence(store, await store.commit({keys.ISSUER: b'"n1"'}))
        await store.commit({keys.ISSUER: b'"n2"'})
        records = Records(fence, FileSealer(tmp_path / "key"), lambda: 5.0)
        with pytest.raises(Lost):
            await records.failed(NEED, Failed("no"))
        assert await records.get("a.org") is None
