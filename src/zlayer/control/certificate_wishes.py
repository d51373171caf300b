"""What users may ask of certificates: to be renewed now."""

from __future__ import annotations

from collections.abc import Callable

from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.errors import Conflict, NotFound, Unavailable, Unsupported
from zlayer.model.units import Timestamp
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, encode, read

_read = decoder(StoredCertificate)
_ATTEMPTS = 16
TICK = 0.001
"""Seconds by which a wish is later than the try before it, whatever the clock has done since."""


class CertificateWishes:
    """Every call is durable when it returns; the certificate keeper acts on it."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def renew(self, name: str) -> int:
        """Want a new one now, whatever back-off says; files are read again. What is served stays until it is there.

        The store's revision; the wish is open while `asked_at` is after `tried_at`. `NotFound`: nothing is known of it.
        `Unsupported`: it cannot be had as it is asked for. `Unavailable`: the CA said not before a time.
        """
        key = keys.certificate(name)
        for _ in range(_ATTEMPTS):
            item = await self._store.get(key)
            if item is None:
                raise NotFound(f"no certificate {name}", hint="see: zlayer cert ls")
            found = read(_read, item)
            now = self._clock()
            _refuse(found, now)
            asked = Timestamp(max(now, found.tried_at + TICK))
            try:
                wish = encode(found.model_copy(update={"asked_at": asked}))
                return await self._store.commit({key: wish}, expect={key: item.modified})
            except Conflict:
                continue
        raise Conflict(f"{name} keeps changing", hint="try again")


def _refuse(found: StoredCertificate, now: float) -> None:
    if found.failures and found.next_try is None:
        raise Unsupported(f"{found.name} cannot be had: {found.last_error}", hint="mend that first")
    if found.unused_since is not None:
        raise Conflict(f"no endpoint uses {found.name}", hint="see: zlayer cert ls")
    if found.held_until is not None and found.held_until > now >= found.tried_at:
        left = found.held_until - now
        raise Unavailable(f"the CA takes nothing for {left:.0f} s: {found.last_error}", retry_after=left)
