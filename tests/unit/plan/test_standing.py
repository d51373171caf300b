"""How certificates stand, for people (zlayer.plan.standing)."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.model.certificate import Order, StoredCertificate
from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.instance import Deployment
from zlayer.model.units import Timestamp
from zlayer.plan.standing import WORRIES, Standing, standing
from zlayer.testing.builders import deployment, service

DAY = 86400.0
NOW = 1_800_000_000.0


def shop(*hosts: str, **tls: Any) -> Deployment:
    endpoints = tuple(
        Endpoint(name=f"e{n}", protocol="https", port=443, target_port=80, host=host, tls=Tls(**tls))
        for n, host in enumerate(hosts)
    )
    return deployment("shop", web=service(endpoints=endpoints))


def stored(name: str = "a.org", **fields: Any) -> StoredCertificate:
    made: dict[str, Any] = {
        "source": "acme",
        "chain": "CHAIN",
        "names": (name,),
        "not_before": Timestamp(NOW - 30 * DAY),
        "not_after": Timestamp(NOW + 60 * DAY),
        "renew_at": Timestamp(NOW + 30 * DAY),
        **fields,
    }
    return StoredCertificate(name=name, **made)


def only(document: StoredCertificate | None, orders: dict[str, Order] | None = None) -> Standing:
    [found] = standing([shop("a.org")], {"a.org": document} if document else {}, orders or {}, NOW)
    return found


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (None, "pending"),
        (stored(chain=""), "pending"),
        (stored(chain="", last_error="no"), "failed"),
        (stored(), "valid"),
        (stored(last_error="no, said the CA when a user asked"), "valid"),
        (stored(last_error="no", renew_at=Timestamp(NOW)), "failing"),
        (stored(last_error="no such file", source="files", renew_at=None), "failing"),
        (stored(not_after=Timestamp(NOW + 5 * DAY)), "expiring"),
        (stored(not_after=Timestamp(NOW)), "expired"),
    ],
)
def test_the_state_of_one_that_is_wanted(document: StoredCertificate | None, state: str) -> None:
    found = only(document)
    assert (found.state, found.users) == (state, ("shop/web/e0",))
    assert (state in WORRIES) == (state not in {"valid", "pending"})


def test_one_nobody_wants_is_unused_or_as_good_as_gone() -> None:
    [kept] = standing([], {"a.org": stored()}, {}, NOW)
    assert (kept.state, kept.users) == ("unused", ())
    assert standing([], {"a.org": stored(chain="", last_error="no")}, {}, NOW) == ()


def test_one_that_stands_in_has_the_user_and_so_has_the_one_that_is_awaited() -> None:
    old = stored("a.org", users=("shop/web/e0",), issued_at=Timestamp(NOW))
    files = shop("a.org", mode="files", certificate="/a.pem", key="/a.key")
    new, kept = standing([files], {"a.org": old}, {}, NOW)[::-1]
    assert (kept.name, kept.state, kept.users) == ("a.org", "valid", ("shop/web/e0",))
    assert (new.state, new.users) == ("pending", ("shop/web/e0",))


def test_an_order_under_way_is_told() -> None:
    order = Order(name="a.org", names=("a.org",), directory="d", key="k", started_at=Timestamp(NOW))
    assert only(None, {"a.org": order}).ordering
    assert not only(None).ordering
