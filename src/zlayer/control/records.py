"""What became of each certificate, written down: guarded by the issuer's fence and by what was there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from zlayer.control.orders import Fence, Lost
from zlayer.model import keys
from zlayer.model.certificate import Facts, Order, Pair, StoredCertificate
from zlayer.model.errors import Conflict, Deadline, Exhausted, Unavailable, ZlayerError
from zlayer.model.instance import Event
from zlayer.model.units import Timestamp
from zlayer.plan.certificates import Failure, Mark, after_failure, after_success
from zlayer.plan.needs import Need
from zlayer.proxy.certs.contract import Sealer
from zlayer.store.documents import decoder, encode, read

log = structlog.get_logger(__name__)

_read = decoder(StoredCertificate)
_read_order = decoder(Order)

UNDECIDED = (Unavailable, Deadline, Exhausted)
"""Nobody refused: what was begun stands, and is gone on with soon."""
Compute = Callable[[StoredCertificate | None], StoredCertificate | None]


def told(error: ZlayerError) -> str:
    """What happened and what to do, in one line."""
    return f"{error.message}: {error.hint}" if error.hint else error.message


class Records:
    """`revision` is that of the last write, for who wants to see it."""

    def __init__(self, fence: Fence, sealer: Sealer, clock: Callable[[], float]) -> None:
        self.revision = 0
        self._fence = fence
        self._sealer = sealer
        self._clock = clock
        self._events = 0

    async def get(self, name: str) -> StoredCertificate | None:
        item = await self._fence.store.get(keys.certificate(name))
        return read(_read, item) if item is not None else None

    async def order(self, name: str) -> Order | None:
        item = await self._fence.store.get(keys.order(name))
        return read(_read_order, item) if item is not None else None

    async def succeeded(
        self, need: Need, pair: Pair, facts: Facts, reason: str, *, advice: str = "", drop_order: bool = False
    ) -> None:
        """Chain and key become the certificate in one commit with the end of its order and the event."""
        now = self._clock()
        pem = (pair.chain, self._sealer.seal(pair.key, keys.certificate(need.name)))
        before = await self.get(need.name)
        kind = "certificate.renewed" if before is not None and before.usable else "certificate.issued"
        words = f"{need.name} ({need.source}, serial {facts.serial}): {reason}"
        log.info(kind, certificate=need.name, source=need.source, serial=facts.serial, reason=reason)
        await self._write(
            need.name,
            lambda found: after_success(need, found, facts, pem, now, advice=advice),
            events=self._event(kind, need, words, now),
            drop_order=drop_order,
        )

    async def failed(
        self, need: Need, error: ZlayerError, *, began: float | None = None, drop_order: bool = False
    ) -> None:
        """What works goes on working; why there is no new one is told, once for as long as it is the same reason."""
        now = self._clock()
        words = told(error)
        failure = Failure(words, error.retry_after, isinstance(error, UNDECIDED), began)
        log.warning("certificate.failed", certificate=need.name, source=need.source, error=words)
        before = await self.get(need.name)
        events = self._event("certificate.failed", need, f"{need.name} ({need.source}): {words}", now)
        await self._write(
            need.name,
            lambda found: after_failure(need, found, failure, now),
            events=None if before is not None and before.last_error == words else events,
            drop_order=drop_order,
        )

    async def well(self, name: str, advice: str) -> None:
        """It was looked at, and nothing is new: an earlier failure is over, a wish answered."""

        def well(found: StoredCertificate | None) -> StoredCertificate | None:
            asked = found is not None and found.asked_at > found.tried_at
            if found is None or not (found.last_error or found.advice != advice or asked):
                return found
            now = Timestamp(self._clock())
            healed = {"last_error": "", "failures": 0, "next_try": None, "held_until": None, "advice": advice}
            return found.model_copy(update={**healed, "tried_at": now, "asked_at": min(found.asked_at, now)})

        await self._write(name, well)

    async def warn(self, need: Need) -> None:
        """Tell, once, that it ends soon and its successor is not there."""
        found = await self.get(need.name)
        if found is None or found.warned:
            return
        end = datetime.fromtimestamp(found.not_after, UTC).strftime("%Y-%m-%d %H:%M UTC")
        why = f": {found.last_error}" if found.last_error else ""
        words = f"{need.name} ({need.source}) ends at {end}{why}"
        log.warning("certificate.expiring", certificate=need.name, end=end)
        await self._write(
            need.name,
            lambda known: known.model_copy(update={"warned": True}) if known is not None else None,
            events=self._event("certificate.expiring", need, words, self._clock()),
        )

    async def mark(self, mark: Mark) -> None:
        def marked(found: StoredCertificate | None) -> StoredCertificate | None:
            changes = {"note": mark.note, "unused_since": mark.unused_since, "users": mark.users}
            return found.model_copy(update=changes) if found is not None else None

        await self._write(mark.name, marked)

    async def forget(self, name: str) -> None:
        await self._write(name, lambda _: None)

    async def drop_order(self, name: str) -> None:
        self.revision = await self._fence.commit(deletes=[keys.order(name)])

    async def _write(
        self, name: str, compute: Compute, *, events: Mapping[str, bytes] | None = None, drop_order: bool = False
    ) -> None:
        """Again until nobody was faster; `Lost` where the fence fell."""
        key = keys.certificate(name)
        while True:
            item = await self._fence.store.get(key)
            before = read(_read, item) if item is not None else None
            after = compute(before)
            if after == before and not events and not drop_order:
                return
            puts = {**(events or {}), **({key: encode(after)} if after is not None else {})}
            deletes = [*([key] if after is None else []), *([keys.order(name)] if drop_order else [])]
            try:
                self.revision = await self._fence.commit(puts, deletes, {key: item.modified if item else 0})
            except Lost:
                raise
            except Conflict:
                continue
            return

    def _event(self, kind: str, need: Need, message: str, now: float) -> dict[str, bytes]:
        """Of the deployment and service it is for, where that is one."""
        self._events += 1
        owners = {tuple(user.split("/")[:2]) for user in need.users}
        deployment, service = next(iter(owners)) if len(owners) == 1 else ("", "")
        event = Event(at=Timestamp(now), kind=kind, deployment=deployment, service=service, message=message)
        return {f"{keys.EVENTS}{int(now * 1e6):020d}-certificates-{self._events}": encode(event)}
