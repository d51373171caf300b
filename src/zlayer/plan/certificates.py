"""Which certificates endpoints need, and what is to be done about each now and when.

`needs` reads deployments, `decide` compares with what is stored. `after_success` and `after_failure` say what the
store is to hold then, so that the whole course of a certificate is decided here and can be run without a CA.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zlayer.model.certificate import Facts, Order, StoredCertificate
from zlayer.model.units import Timestamp
from zlayer.plan.backoff import delay
from zlayer.plan.needs import Need

DAY = 86_400.0
KEEP_UNUSED = 7 * DAY
"""A certificate nobody uses is kept so long: a deployment that comes back costs the CA nothing."""
ORDER_LIFE = DAY
LOOK_AT_FILES = 30.0
SPARE = 1 / 3
"""Of a certificate's life that is left when its successor is to be had; up to a twentieth more, spread by name."""
WARN_SHARE, WARN_LIMIT = 1 / 6, 14 * DAY
"""Of a certificate's life that is left, and seconds at most, when it is told that it ends."""
ACME_BACKOFF = (300.0, 6 * 3600.0)
"""First and longest pause: at most 4 tries in the first hour, for CAs allow 5 refused ones per name and hour."""
UNREACHED_BACKOFF = (10.0, 900.0)
"""Where the CA said nothing, nothing is counted against us: it was not reached, overloaded, or our disk is full."""
LOCAL_BACKOFF = (5.0, 300.0)
SKEW = 60.0
"""Seconds by which a clock is set right without anybody's noticing; what lies further ahead was written by a clock
that has gone back since."""


@dataclass(frozen=True, slots=True)
class Obtain:
    """Get this one; where an order is in flight, go on with it."""

    need: Need
    reason: str
    renewal: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Look at the files of this one."""

    need: Need


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be had as it is asked for: tell."""

    need: Need


@dataclass(frozen=True, slots=True)
class Mark:
    """Nothing to get, but this is to be known of it."""

    name: str
    note: str
    unused_since: Timestamp | None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warn:
    """It ends soon, and nobody has renewed it: tell."""

    need: Need


@dataclass(frozen=True, slots=True)
class Forget:
    name: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """An order nobody wants any more, or of other names than are wanted now."""

    name: str


Action = Obtain | Read | Refuse | Mark | Warn | Forget | Abandon


@dataclass(frozen=True, slots=True)
class Decision:
    """`wake_at`: look again then, though nothing has changed."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a try, in words. `retry_after` is the CA's own, in seconds.

    `unreached`: nobody refused, nobody decided. `began` is when the try did: who asked since is still to be answered.
    """

    words: str
    retry_after: float | None = None
    unreached: bool = False
    began: float | None = None


@dataclass(slots=True)
class _Draft:
    actions: list[Action] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)


def decide(
    wanted: Iterable[Need],
    stored: Mapping[str, StoredCertificate],
    orders: Mapping[str, Order],
    now: float,
) -> Decision:
    """Everything that is due now, by name. Nothing is due when the stored certificates are what is wanted."""
    draft, by_name = _Draft(), {need.name: need for need in wanted}
    waiting = frozenset(user for name, need in by_name.items() if not _usable(stored.get(name)) for user in need.users)
    for name, need in sorted(by_name.items()):
        document = stored.get(name)
        if document is not None:
            _of_users(draft, need, document, waiting)
        _of_need(draft, need, document, orders.get(name), now)
    for name, document in sorted(stored.items()):
        if name not in by_name:
            _of_unused(draft, document, waiting, now)
    draft.actions += [Abandon(name) for name in sorted(orders) if name not in by_name]
    return Decision(tuple(draft.actions), min(draft.wakes, default=None))


def _usable(document: StoredCertificate | None) -> bool:
    return document is not None and document.usable


def _of_users(draft: _Draft, need: Need, document: StoredCertificate, waiting: frozenset[str]) -> None:
    """Who left for a certificate that is not there yet is served with this one until it is."""
    users = tuple(sorted({*need.users, *waiting.intersection(document.users)})) if document.usable else ()
    if (document.unused_since, document.note, document.users) != (None, need.note, users):
        draft.actions.append(Mark(need.name, need.note, None, users))


def _of_need(draft: _Draft, need: Need, document: StoredCertificate | None, order: Order | None, now: float) -> None:
    if document is not None and document.usable and not document.warned:
        if now >= (at := warning(document)):
            draft.actions.append(Warn(need))
        else:
            draft.wakes.append(at)
    reason = "" if need.problem else due(need, document, now)
    if order is not None and (not reason or not _fits(order, need, now)):
        draft.actions.append(Abandon(need.name))
    if need.problem:
        if document is None or document.last_error != need.problem:
            draft.actions.append(Refuse(need))
    elif need.source == "files":
        draft.actions.append(Read(need))
        draft.wakes.append(now + LOOK_AT_FILES)
    elif not reason:
        assert document is not None
        if document.renew_at is not None:
            draft.wakes.append(document.renew_at)
    elif document is not None and (at := _free_at(document, now)) > now:
        draft.wakes.append(at)
    else:
        draft.actions.append(Obtain(need, reason, renewal=document is not None and document.usable))


def due(need: Need, document: StoredCertificate | None, now: float) -> str:
    """Why a certificate is to be had, back-off aside; empty where the stored one will do."""
    if document is None or not document.usable:
        return "there is none yet"
    if set(need.names) - set(document.names):
        return "it lacks names"
    renew = document.renew_at is not None and document.renew_at <= now
    if need.source != document.source:
        kept = need.automatic and document.source == "acme" and not renew
        return "" if kept else f"it is of another source ({document.source})"
    if need.authority != document.authority:
        return "another authority is to make it"
    if document.asked_at > document.tried_at:
        return "a user asked for it"
    if need.source == "self_signed" and document.not_before > now + SKEW:
        return "it is not valid yet: the clock has gone back"
    return "two thirds of its life are over" if renew else ""


def warning(document: StoredCertificate) -> float:
    """From when on a certificate that is still the same is one to worry about; its successor is long overdue then."""
    life = document.not_after - document.not_before
    return document.not_after - min(WARN_LIMIT, life * WARN_SHARE)


def _free_at(document: StoredCertificate, now: float) -> float:
    """When the next try may be made."""
    if document.tried_at > now + SKEW:
        return 0.0
    asked = document.asked_at > document.tried_at
    after_failure = document.next_try if document.next_try is not None and not asked else 0.0
    return max(after_failure, document.held_until or 0.0)


def _fits(order: Order, need: Need, now: float) -> bool:
    wanted = need.source == "acme" and order.directory == need.authority and order.names == need.names
    return wanted and abs(now - order.started_at) < ORDER_LIFE


def _of_unused(draft: _Draft, document: StoredCertificate, waiting: frozenset[str], now: float) -> None:
    if not document.usable:
        draft.actions.append(Forget(document.name))
    elif document.unused_since is None:
        draft.actions.append(Mark(document.name, document.note, Timestamp(now), document.users))
    elif waiting.intersection(document.users):
        return
    elif now >= document.unused_since + KEEP_UNUSED:
        draft.actions.append(Forget(document.name))
    else:
        draft.wakes.append(document.unused_since + KEEP_UNUSED)


def after_success(
    need: Need,
    before: StoredCertificate | None,
    facts: Facts,
    pem: tuple[str, str],
    now: float,
    *,
    advice: str = "",
) -> StoredCertificate:
    """The document with a new chain and sealed key (`pem`)."""
    chain, key = pem
    return StoredCertificate(
        name=need.name,
        names=tuple(dict.fromkeys((*need.names, *facts.names))),
        source=need.source,
        chain=chain,
        key=key,
        issuer=facts.issuer,
        authority=need.authority,
        serial=facts.serial,
        not_before=facts.not_before,
        not_after=facts.not_after,
        issued_at=Timestamp(now),
        renew_at=None if need.source == "files" else renewal(need.name, facts, now),
        tried_at=Timestamp(now),
        asked_at=Timestamp(min(before.asked_at, now) if before is not None else 0),
        note=need.note,
        users=tuple(sorted({*need.users, *(before.users if before is not None else ())})),
        advice=advice,
    )


def after_failure(need: Need, before: StoredCertificate | None, failure: Failure, now: float) -> StoredCertificate:
    """The document with what went wrong and when to try again; what works goes on working."""
    known = before or StoredCertificate(name=need.name, names=need.names, source=need.source, note=need.note)
    failures = known.failures + 1
    first, limit = LOCAL_BACKOFF if need.source != "acme" else UNREACHED_BACKOFF if failure.unreached else ACME_BACKOFF
    if known.usable:
        limit = min(limit, max(60.0, (known.not_after - known.not_before) / 20))
    pause = 0.0 if need.problem else delay(failures, need.name, first=min(first, limit), limit=limit)
    return known.model_copy(
        update={
            "last_error": failure.words,
            "failures": failures,
            "tried_at": Timestamp(now if failure.began is None else min(failure.began, now)),
            "asked_at": Timestamp(min(known.asked_at, now)),
            "next_try": None if need.problem else Timestamp(now + pause),
            "held_until": Timestamp(now + failure.retry_after) if failure.retry_after is not None else None,
            "source": known.source if known.usable else need.source,
        }
    )


def renewal(name: str, facts: Facts, now: float) -> Timestamp:
    """When two thirds of its life are over, less up to a twentieth: many made at once are not renewed at once."""
    start = facts.not_before
    life = facts.not_after - start
    seed = hashlib.sha256(f"{name}/{facts.serial}".encode()).digest()[:2]
    at = start + life * (1 - SPARE - 0.05 * int.from_bytes(seed, "big") / 65536)
    # Of one that reached us late in its life, two thirds of what is left; never at once, or we would order for ever.
    return Timestamp(at if at > now else now + max(60.0, (facts.not_after - now) * (1 - SPARE)))
