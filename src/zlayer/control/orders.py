"""One order at a CA from beginning to end, every step written down before it is taken.

Killed anywhere, the next one to call `obtain` goes on from what the store has: the account's key is stored before
the CA hears of it, the order's URL as soon as there is one, what must be undone before it is done. The one thing
that can be lost is an order placed and not yet written down, which the CA forgets by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from zlayer.model import keys
from zlayer.model.certificate import Account, AcmeSettings, Order, Pair, Proof
from zlayer.model.errors import Conflict, Corrupt, Deadline, Failed, NotFound, Unsupported, ZlayerError
from zlayer.model.units import Timestamp
from zlayer.plan.needs import Need
from zlayer.proxy.certs.contract import (
    Acme,
    Authorization,
    Certifier,
    Challenge,
    DnsHook,
    Identity,
    OrderState,
    Sealer,
)
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, encode, read

log = structlog.get_logger(__name__)

_read_account = decoder(Account)
_read_order = decoder(Order)

PATIENCE = 180.0
"""Seconds for one go at an order; what is not done by then is gone on with after a pause."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0


class Lost(Conflict):
    """Another one issues certificates now."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Guards every write of the issuer: it holds while the key it took has not changed."""

    store: Store
    revision: int

    async def commit(
        self,
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        expect: Mapping[str, int] | None = None,
    ) -> int:
        """As the store's; `Lost` where the fence fell."""
        try:
            return await self.store.commit(puts, deletes, {**(expect or {}), keys.ISSUER: self.revision})
        except Conflict:
            held = await self.store.get(keys.ISSUER)
            if held is None or held.modified != self.revision:
                raise Lost("another one issues certificates now", hint="this is told to logs only") from None
            raise


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA and all it takes to prove names to it. `published` returns once every proxy has a store revision."""

    settings: AcmeSettings
    acme: Acme
    published: Callable[[int], Awaitable[None]]
    hook: DnsHook | None = None


@dataclass(slots=True)
class _Progress:
    """Of one go. `modified` is the revision that the order's document has."""

    order: Order
    modified: int
    answered: set[str] = field(default_factory=set)
    pause: float = FIRST_PAUSE


class Orders:
    """Under one fence. Different names may be obtained at the same time, one name by one caller only."""

    def __init__(self, fence: Fence, ca: Ca, sealer: Sealer, certifier: Certifier, clock: Callable[[], float]) -> None:
        self._fence = fence
        self._ca = ca
        self._sealer = sealer
        self._certifier = certifier
        self._clock = clock
        self._account = anyio.Lock()

    async def obtain(self, need: Need) -> Pair:
        """The certificate, with the order still in the store: `give_up` it once the pair is safe, or after a refusal.

        `Unavailable` and `Deadline` leave an order that the next call goes on with; every other error is final for it.
        """
        for last in (False, True):
            try:
                with anyio.fail_after(PATIENCE):
                    return await self._obtain(need)
            except TimeoutError:
                raise Deadline(f"the CA has not decided on {need.name} within {PATIENCE:g} s", hint="") from None
            except NotFound:
                # The CA has forgotten the account or the order: once more from the beginning.
                if last:
                    raise
                await self.give_up(need.name)
                await self._forget_account()
        raise AssertionError("unreachable")

    async def give_up(self, name: str) -> None:
        """Undo what an order put into DNS and forget it. What DNS does not take back is told to the log."""
        item = await self._fence.store.get(keys.order(name))
        if item is None:
            return
        await self.clean(read(_read_order, item))
        await self._fence.commit(deletes=[item.key])

    async def clean(self, order: Order) -> None:
        for record, value in order.records if self._ca.hook is not None else ():
            assert self._ca.hook is not None
            try:
                await self._ca.hook.cleanup(record, value)
            except ZlayerError as error:
                log.warning("certificate.cleanup_failed", record=record, error=error.message)

    async def _obtain(self, need: Need) -> Pair:
        acme, identity = self._ca.acme, await self._identity()
        progress, state = await self._begin(identity, need)
        while True:
            match state.status:
                case "pending":
                    await self._prove(identity, progress, state)
                case "ready":
                    key = self._sealer.unseal(progress.order.key, keys.order(need.name))
                    request = await self._certifier.request(progress.order.names, key)
                    state = await acme.finalise(identity, state, request)
                    if state.status == "valid":
                        continue
                case "valid":
                    key = self._sealer.unseal(progress.order.key, keys.order(need.name))
                    return Pair(await acme.download(identity, state), key)
                case "processing":
                    pass
                case _:
                    raise Failed(f"the order for {need.name} is {state.status}: {await self._why(identity, state)}")
            await anyio.sleep(min(max(progress.pause, state.retry_after or 0.0), LONGEST_PAUSE))
            progress.pause *= 1.5
            state = await acme.look(identity, progress.order.url)

    async def _begin(self, identity: Identity, need: Need) -> tuple[_Progress, OrderState]:
        """The order in flight, else a new one.

        The store must take a write before the CA hears of an order: on a full disk every try would cost one.
        """
        key = keys.order(need.name)
        item = await self._fence.store.get(key)
        order = read(_read_order, item) if item is not None else None
        if order is not None and item is not None and order.url and self._opens(order):
            return _Progress(order, item.modified), await self._ca.acme.look(identity, order.url)
        order = Order(
            name=need.name,
            names=need.names,
            directory=self._ca.settings.directory,
            key=self._sealer.seal(await self._certifier.new_key(), key),
            started_at=Timestamp(self._clock()),
        )
        await self._fence.commit({key: encode(order)})
        state = await self._ca.acme.order(identity, need.names)
        order = order.model_copy(update={"url": state.url})
        return _Progress(order, await self._fence.commit({key: encode(order)})), state

    def _opens(self, order: Order) -> bool:
        try:
            self._sealer.unseal(order.key, keys.order(order.name))
        except Corrupt:
            return False
        return True

    async def _prove(self, identity: Identity, progress: _Progress, state: OrderState) -> None:
        """Put proofs of every pending name in place, wait until they are there, and tell the CA to look."""
        found = await self._ca.acme.authorizations(identity, state)
        for one in found:
            if one.status not in ("pending", "valid"):
                raise Failed(f"{one.name} could not be proved: {one.error or one.status}")
        ways = [(one, self._way(one)) for one in found if one.status == "pending"]
        await self._place(progress, ways)
        for _, way in ways:
            if way.status == "pending" and way.url not in progress.answered:
                await self._ca.acme.answer(identity, way)
                progress.answered.add(way.url)

    async def _place(self, progress: _Progress, ways: Sequence[tuple[Authorization, Challenge]]) -> None:
        files = {way.token: way.answer for _, way in ways if way.kind == "http-01"}
        shown = {one.name: way.answer for one, way in ways if way.kind == "tls-alpn-01"}
        records = tuple((f"_acme-challenge.{one.name}", way.answer) for one, way in ways if way.kind == "dns-01")
        order = progress.order
        proofs = await self._proofs(order, shown)
        if files.items() - order.challenges.items() or set(records) - set(order.records) or proofs != order.proofs:
            progress.order = order.model_copy(
                update={
                    "challenges": {**order.challenges, **files},
                    "proofs": proofs,
                    "records": tuple(dict.fromkeys((*order.records, *records))),
                }
            )
            progress.modified = await self._fence.commit({keys.order(order.name): encode(progress.order)})
        if all(way.url in progress.answered for _, way in ways):
            return
        for record, value in records:
            assert self._ca.hook is not None
            await self._ca.hook.present(record, value)
        if files or shown:
            await self._ca.published(progress.modified)

    async def _proofs(self, order: Order, shown: Mapping[str, str]) -> dict[str, Proof]:
        """What the order has to show by tls-alpn-01, with what it lacks."""
        found = dict(order.proofs)
        for name, answer in shown.items():
            if name not in found or found[name].answer != answer:
                pair = await self._certifier.proof(name, answer)
                sealed = self._sealer.seal(pair.key, keys.order(order.name))
                found[name] = Proof(answer=answer, chain=pair.chain, key=sealed)
        return found

    def _way(self, one: Authorization) -> Challenge:
        """As the settings say where the name allows it, else dns-01."""
        offered = {challenge.kind: challenge for challenge in one.challenges}
        if (chosen := self._ca.settings.challenge) in offered and not one.wildcard:
            return offered[chosen]
        if "dns-01" in offered and self._ca.hook is not None:
            return offered["dns-01"]
        raise Unsupported(
            f"the CA wants {one.name} proved by {' or '.join(sorted(offered)) or 'nothing it says'}",
            hint="the proxy answers http-01, or tls-alpn-01 (`challenge` in [acme]), and dns_hook in [acme] dns-01",
        )

    async def _why(self, identity: Identity, state: OrderState) -> str:
        """Of a refused order: the CA's words about its names, which say more than those about the order."""
        told = [f"{one.name}: {one.error}" for one in await self._ca.acme.authorizations(identity, state) if one.error]
        return "; ".join(told) or state.error or "the CA does not say why"

    async def _identity(self) -> Identity:
        """Our account at the CA, made at the first use and kept for ever."""
        directory = self._ca.settings.directory
        key = keys.account(directory)
        async with self._account:
            item = await self._fence.store.get(key)
            account = read(_read_account, item) if item is not None else None
            if account is not None:
                try:
                    private = self._sealer.unseal(account.key, key)
                except Corrupt as error:
                    log.warning("certificate.account_lost", directory=directory, error=error.message)
                    account = None
            if account is None:
                private = await self._certifier.new_key()
                account = Account(
                    directory=directory, key=self._sealer.seal(private, key), email=self._ca.settings.email
                )
                await self._fence.commit({key: encode(account)})
            if not account.url:
                account = account.model_copy(update={"url": await self._ca.acme.register(private)})
                await self._fence.commit({key: encode(account)})
        return Identity(private, account.url)

    async def _forget_account(self) -> None:
        """Its URL only: the CA knows it again by its key, or takes it as new."""
        async with self._account:
            item = await self._fence.store.get(keys.account(self._ca.settings.directory))
            if item is not None:
                account = read(_read_account, item).model_copy(update={"url": ""})
                await self._fence.commit({item.key: encode(account)})
