"""Certificates that need no CA of the world: signed by this node, or read from files of its owner."""

from __future__ import annotations

from collections.abc import Callable

from zlayer.control.records import Records, told
from zlayer.model import keys
from zlayer.model.certificate import Pair, StoredCertificate
from zlayer.model.errors import Corrupt, ZlayerError
from zlayer.plan.certificates import Obtain
from zlayer.plan.needs import Need
from zlayer.proxy.certs.contract import Certifier, Sealer


class OwnCertificates:
    """Each call ends with what became of it written down. Errors of the store pass."""

    def __init__(self, records: Records, certifier: Certifier, sealer: Sealer, clock: Callable[[], float]) -> None:
        self._records = records
        self._certifier = certifier
        self._sealer = sealer
        self._clock = clock

    async def sign(self, action: Obtain) -> None:
        need = action.need
        try:
            pair = await self._certifier.self_signed(need.names)
            facts = await self._certifier.check(pair, need.names, self._clock())
        except ZlayerError as error:
            await self._records.failed(need, error)
        else:
            await self._records.succeeded(need, pair, facts, action.reason)

    async def read(self, need: Need) -> None:
        """Take what the files hold, when it is good and new. What is stored stays until then."""
        before = await self._records.get(need.name)
        try:
            pair = await self._certifier.read_files(*need.files)
            advice = await self._certifier.advice(need.files[1])
            if before is not None and self._holds(before, pair):
                await self._records.well(need.name, advice)
                return
            facts = await self._certifier.check(pair, need.names, self._clock())
        except ZlayerError as error:
            where = error if need.files[0] in error.message or need.files[1] in error.message else _at(need, error)
            if before is None or before.last_error != told(where) or before.asked_at > before.tried_at:
                await self._records.failed(need, where)
        else:
            reason = "its files changed" if before is not None and before.usable else "there is none yet"
            await self._records.succeeded(need, pair, facts, reason, advice=advice)

    def _holds(self, document: StoredCertificate, pair: Pair) -> bool:
        if document.chain != pair.chain:
            return False
        try:
            return self._sealer.unseal(document.key, keys.certificate(document.name)) == pair.key
        except Corrupt:
            return False


def _at(need: Need, error: ZlayerError) -> ZlayerError:
    """The same, naming the files it is about."""
    return type(error)(f"{need.files[0]}, {need.files[1]}: {error.message}", hint=error.hint)
