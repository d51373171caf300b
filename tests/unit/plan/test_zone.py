from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.instance import Deployment, State
from zlayer.plan.seen import Seen, grouped
from zlayer.plan.zone import DOMAIN, TTL, Door, Names, joined, service_names, zone
from zlayer.testing.builders import deployment, service

from .test_routes import replica

HERE = {"shop": Door(("10.64.0.1",), ("10.64.0.0/26",)), "store": Door(("10.64.0.65",))}


def six(four: str) -> str:
    return f"fd00::{four.rsplit('.', 1)[1]}"


def of(wanted: Deployment, *replicas: Seen, held: frozenset[str] = frozenset()) -> Names:
    groups = grouped(replicas)
    return joined(wanted, [service_names(name, groups.get(name, ()), six, held) for name in wanted.services])


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("desired", ["running", "stopped"])
def test_only_who_is_ready_and_wanted_is_named(state: State, desired: str) -> None:
    wanted = deployment(web=service())
    found = of(wanted, replica(wanted, state=state, desired=desired))
    assert bool(found.names["web"]) == (state is State.READY and desired == "running")


def test_a_service_and_each_replica_by_its_number() -> None:
    wanted = deployment(web=service(2))
    found = of(wanted, replica(wanted, 1), replica(wanted, 2))
    assert found.names["web"] == ("10.64.0.2", "fd00::2", "10.64.0.3", "fd00::3")
    assert found.names["2.web"] == ("10.64.0.3", "fd00::3")


def test_a_candidate_on_trial_is_not_named() -> None:
    wanted = deployment(web=service())
    one = replica(wanted)
    assert of(wanted, one, held=frozenset({one.id})).names == {"web": ()}


def test_names_stay_at_home_unless_a_service_reaches_out() -> None:
    shop = deployment("shop", web=service(reach=("store",)))
    store = deployment("store", db=service())
    parts = {"shop": of(shop, replica(shop)), "store": of(store, replica(store, name="db"))}
    made = {view.network: set(view.names) for view in zone(parts, HERE).views}
    assert made["store"] == {"db.service.local", "1.db.service.local"}
    assert made["shop"] == {
        "web.service.local", "1.web.service.local", "db.store.service.local", "1.db.store.service.local",
    }  # fmt: skip


def test_a_network_without_a_deployment_knows_no_name() -> None:
    [view] = zone({}, {"_run": HERE["shop"]}).views
    assert view.names == {}
    assert (view.listen, view.clients) == (("10.64.0.1",), ("10.64.0.0/26",))


@given(st.lists(st.integers(1, 9), unique=True), st.randoms())
def test_the_order_of_arrival_changes_nothing(slots: list[int], shuffle: random.Random) -> None:
    wanted = deployment(web=service())
    replicas = [replica(wanted, slot) for slot in slots]
    first = of(wanted, *replicas)
    shuffle.shuffle(replicas)
    assert of(wanted, *replicas) == first


def test_the_page_says_how_long_an_answer_is_kept() -> None:
    page = (Path(__file__).parents[3] / "docs" / "dns.md").read_text()
    assert f"The TTL is {TTL} second," in page
    assert f"`web.{DOMAIN}`" in page
