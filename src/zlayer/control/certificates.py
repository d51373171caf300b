"""Keeps every certificate that endpoints need: made, renewed in time, told about. Writes to the store only.

One issuer works at a time, on whichever node: it holds a key under a lease, and every write it makes expects that
key unchanged. Deciding is `plan.certificates`; the course of an order at a CA is `control.orders`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import structlog
from anyio.abc import TaskGroup

from zlayer.control.orders import Ca, Fence, Lost, Orders
from zlayer.control.own_certificates import OwnCertificates
from zlayer.control.records import UNDECIDED, Records
from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.errors import Compacted, Conflict, Failed, Unavailable, ZlayerError
from zlayer.plan.backoff import delay
from zlayer.plan.certificates import SKEW, Abandon, Action, Forget, Mark, Obtain, Read, Refuse, Warn, decide
from zlayer.plan.needs import Need, Policy, needs
from zlayer.proxy.certs.contract import Certifier, Sealer
from zlayer.store.contract import Lease, Store
from zlayer.store.view import Picture, View, sharing

log = structlog.get_logger(__name__)

TTL = 10.0
LOOK_AGAIN = 900.0
"""Seconds; what is due is looked at when it is due, this is for a CA removed by hand."""
LOOK_AT_CLOCK = 300.0
"""Seconds until a clock that was set is noticed."""
STEADY = 60.0
"""An issuer that worked for so long starts again without a pause."""
GAP = 0.05
"""Seconds between two looks: in a storm of changes, one for many."""
SIDE_BY_SIDE = 4
"""Orders at a time."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the keeper works with; without `ca` nothing is asked of any CA. `own_names` are the node's."""

    sealer: Sealer
    certifier: Certifier
    ca: Ca | None = None
    own_names: tuple[str, ...] = ()

    def policy(self, authority: str) -> Policy:
        if self.ca is None:
            return Policy(authority=authority, own_names=self.own_names)
        return Policy(self.ca.settings.directory, self.ca.hook is not None, authority, self.own_names)


class CertificateKeeper:
    """`run` until cancelled, on as many nodes as you like: one of them works."""

    def __init__(
        self, store: Store, tools: Tools, *, clock: Callable[[], float], holder: str = "", view: View | None = None
    ) -> None:
        self._store = store
        self._tools = tools
        self._clock = clock
        self._holder = holder
        self._shared = view

    async def run(self) -> None:
        failures = 0
        while True:
            began = anyio.current_time()
            try:
                async with sharing(self._shared, self._store) as view, self._store.hold("certificates", TTL) as lease:
                    fence = Fence(self._store, await self._take(lease))
                    async with anyio.create_task_group() as tasks:
                        await _Turns(fence, self._tools, view, self._clock, tasks).run()
            except* Lost:
                log.info("certificates.issuer_lost")
            except* ZlayerError as group:  # the store takes no writes, say
                log.warning("certificates.held_up", error=str(group.exceptions[0]))
            except* Exception as group:
                log.exception("certificates.failed", error=str(group.exceptions[0]))
            failures = 1 if anyio.current_time() - began > STEADY else failures + 1
            await anyio.sleep(delay(failures, "certificates", first=0.1, limit=30.0))

    async def _take(self, lease: Lease) -> int:
        """Become the issuer; waits for as long as another one is. The revision of the key.

        What a daemon of this node left that was killed is taken over at once: there is one of a node at a time.
        """
        value = f'"{self._holder}"'.encode()
        while True:
            listing = await self._store.list(keys.ISSUER)
            known = listing.items[0] if listing.items else None
            if known is None or (self._holder and known.value == value):
                expect = {keys.ISSUER: known.modified if known is not None else 0}
                try:
                    return await self._store.commit({keys.ISSUER: value}, expect=expect, lease=lease)
                except Conflict:
                    continue
            log.info("certificates.waits", holder=known.value.decode("utf-8", "replace"))
            try:
                async for batch in self._store.watch(keys.ISSUER, listing.revision):
                    if any(change.item is None for change in batch.changes):
                        break
            except (Compacted, Unavailable):
                await anyio.sleep(1)


class _Turns:
    """The issuer at work, under one fence."""

    def __init__(self, fence: Fence, tools: Tools, view: View, clock: Callable[[], float], tasks: TaskGroup) -> None:
        self._tools = tools
        self._view = view
        self._clock = clock
        self._tasks = tasks
        self._records = Records(fence, tools.sealer, clock)
        self._own = OwnCertificates(self._records, tools.certifier, tools.sealer, clock)
        self._orders = Orders(fence, tools.ca, tools.sealer, tools.certifier, clock) if tools.ca else None
        self._fence = fence
        self._working: dict[str, anyio.CancelScope] = {}
        self._room = anyio.Semaphore(SIDE_BY_SIDE)
        self._readable: dict[str, tuple[StoredCertificate, bool]] = {}
        self._sleep = anyio.CancelScope()
        self._again = False

    async def run(self) -> None:
        last: object = None
        wake_at = 0.0
        while True:
            seen, picture = self._view.revision, self._view.picture()
            relevant = (picture.deployments, picture.certificates, picture.orders)
            if relevant != last or self._again or anyio.current_time() >= wake_at:
                last, self._again = relevant, False
                pause = await self._turn(picture)
                wake_at = anyio.current_time() + pause
            await anyio.sleep(GAP)
            await self._rest(seen, wake_at)

    async def _rest(self, seen: int, wake_at: float) -> None:
        """Until the store has moved, something is due, or the clock has been set."""
        ahead = self._clock() - anyio.current_time()
        while not self._again and (left := wake_at - anyio.current_time()) > 0:
            with anyio.move_on_after(min(left, LOOK_AT_CLOCK)) as self._sleep:
                await self._view.moved(seen)
                return
            if abs(self._clock() - anyio.current_time() - ahead) > SKEW:
                log.info("certificates.clock_was_set")
                self._again = True

    async def _turn(self, picture: Picture) -> float:
        """Do or start what is due; how long nothing will be due by itself."""
        wanted = await self._wanted(picture)
        now = self._clock()
        stored = self._opened(picture)
        decision = decide(wanted, stored, picture.orders, now)
        for action in decision.actions:
            await self._act(action)
        await self._view.reached(self._records.revision)
        return min(LOOK_AGAIN, max(0.0, (decision.wake_at or now + LOOK_AGAIN) - now))

    async def _wanted(self, picture: Picture) -> tuple[Need, ...]:
        """Without an https endpoint no CA is made."""
        deployments = list(picture.deployments.values())
        if not needs(deployments, Policy()):
            return ()
        try:
            authority = await self._tools.certifier.authority()
        except ZlayerError as error:  # a full disk: what comes from elsewhere goes on
            log.warning("certificates.no_local_ca", error=error.message)
            authority = ""
        return needs(deployments, self._tools.policy(authority))

    def _opened(self, picture: Picture) -> Mapping[str, StoredCertificate]:
        """Certificates whose key cannot be opened any more are as good as none."""
        opened = {}
        for name, document in picture.certificates.items():
            if document.usable and self._readable.get(name, (None, True))[0] is not document:
                self._readable[name] = (document, self._opens(document))
            good = not document.usable or self._readable[name][1]
            opened[name] = document if good else document.model_copy(update={"chain": ""})
        return opened

    def _opens(self, document: StoredCertificate) -> bool:
        try:
            self._tools.sealer.unseal(document.key, keys.certificate(document.name))
        except ZlayerError as error:  # sealed with another key, or ours cannot be read
            log.warning("certificate.unreadable", certificate=document.name, error=error.message, hint=error.hint)
            return False
        return True

    async def _act(self, action: Action) -> None:
        match action:
            case Obtain(need=need):
                if need.source == "acme":
                    self._start(action)
                else:
                    await self._own.sign(action)
            case Read(need=need):
                await self._own.read(need)
            case Refuse(need=need):
                await self._records.failed(need, Failed(need.problem))
            case Warn(need=need):
                await self._records.warn(need)
            case Mark():
                await self._records.mark(action)
            case Forget(name=name):
                await self._records.forget(name)
            case Abandon(name=name):
                await self._abandon(name)

    def _start(self, action: Obtain) -> None:
        name = action.need.name
        if name in self._working or self._orders is None:
            return
        self._working[name] = anyio.CancelScope()
        self._tasks.start_soon(self._order, self._orders, action, self._working[name])

    async def _order(self, orders: Orders, action: Obtain, scope: anyio.CancelScope) -> None:
        need = action.need
        try:
            with scope:
                async with self._room:
                    await self._try(orders, action)
                await self._view.reached(self._records.revision)
        finally:
            del self._working[need.name]
            self._again = True  # it may have ended without a word to the store
            self._sleep.cancel()

    async def _try(self, orders: Orders, action: Obtain) -> None:
        need, began = action.need, self._clock()
        try:
            pair = await orders.obtain(need)
            facts = await self._tools.certifier.check(pair, need.names, self._clock())
        except Lost:
            raise
        except UNDECIDED as error:  # the order stands: go on with it after a pause
            await self._records.failed(need, error, began=began)
        except ZlayerError as error:
            await self._clean(orders, need.name)
            await self._records.failed(need, error, began=began, drop_order=True)
        else:
            await self._clean(orders, need.name)
            await self._records.succeeded(need, pair, facts, action.reason, drop_order=True)

    async def _clean(self, orders: Orders, name: str) -> None:
        order = await self._records.order(name)
        if order is not None:
            await orders.clean(order)

    async def _abandon(self, name: str) -> None:
        """What works at it is stopped first; the next look then finds it idle."""
        if name in self._working:
            self._working[name].cancel()
        elif self._orders is not None:
            await self._orders.give_up(name)
        else:
            await self._records.drop_order(name)
