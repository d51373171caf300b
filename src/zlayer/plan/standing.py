"""How each certificate stands, for people: what is served, what is on its way, what ends and why nothing follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from zlayer.model.certificate import Order, StoredCertificate
from zlayer.model.instance import Deployment
from zlayer.plan.certificates import warning
from zlayer.plan.needs import served, wanted_names

State = Literal["valid", "pending", "failed", "failing", "expiring", "expired", "unused"]
WORRIES: frozenset[State] = frozenset({"failed", "failing", "expiring", "expired"})
"""What somebody should look at."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One certificate. `users` are backends that are served with it, or are to be; `ordering`: one is being got now.

    `valid`: served, its successor is not due or on its way. `pending`: there is none yet. `failed`: neither, the last
    try went wrong. `failing`: served, but its successor is due and the last try went wrong. `expiring`: so near its end
    that its successor is long overdue. `unused`: kept a while for a deployment that may come back.
    """

    name: str
    state: State
    users: tuple[str, ...]
    document: StoredCertificate | None = None
    ordering: bool = False


def standing(
    deployments: Iterable[Deployment],
    stored: Mapping[str, StoredCertificate],
    orders: Mapping[str, Order],
    now: float,
) -> tuple[Standing, ...]:
    """Every certificate that is stored or wanted, by name."""
    everyone = list(deployments)
    users: dict[str, set[str]] = {}
    for by_user in (wanted_names(everyone), served(everyone, stored)):
        for user, name in by_user.items():
            users.setdefault(name, set()).add(user)
    found = []
    for name in sorted(users.keys() | stored.keys()):
        document, mine = stored.get(name), tuple(sorted(users.get(name, ())))
        if not mine and (document is None or not document.usable):
            continue  # about to be forgotten
        found.append(Standing(name, _state(document, mine, now), mine, document, name in orders))
    return tuple(found)


def _state(document: StoredCertificate | None, users: tuple[str, ...], now: float) -> State:
    if document is None or not document.usable:
        return "failed" if document is not None and document.last_error else "pending"
    if not users:
        return "unused"
    if now >= document.not_after:
        return "expired"
    if now >= warning(document):
        return "expiring"
    overdue = document.source == "files" or (document.renew_at is not None and document.renew_at <= now)
    return "failing" if document.last_error and overdue else "valid"
