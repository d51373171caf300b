"""Single turns of an update, looked at closely; the properties beside this say that they add up."""

from __future__ import annotations

import pytest

from zlayer.model.container import BindMount
from zlayer.model.endpoint import Endpoint, Step, Update
from zlayer.model.units import Seconds
from zlayer.plan.admission import admission
from zlayer.plan.seen import grouped
from zlayer.plan.update import canary, look, turn, verdict
from zlayer.plan.update.strategy import method, share
from zlayer.testing.builders import service
from zlayer.testing.updates import Rig

QUICK = Update(min_ready=Seconds(10))


def settled(**update: object) -> Rig:
    rig = Rig.of(x=service(2, "good:1", update=QUICK.model_copy(update=update)))
    for _ in range(20):
        rig.turn()
        rig.live()
        rig.now += 5
    return rig


def test_a_candidate_has_no_traffic_before_its_trial_is_over() -> None:
    rig = settled()
    rig.wish(x=service(2, "good:2", update=QUICK))
    rig.turn()
    rig.live()
    rig.live()
    seen = list(rig.instances.values())
    new = [one for one in seen if one.instance.spec.image == "good:2"]
    assert new
    assert admission(rig.wanted, seen).held >= {one.id for one in new}
    waits = [(one.slot, one.reason) for one in rig.turn().waits if "on trial" in one.reason]
    assert waits
    assert len(waits) == len(set(waits))
    before = len(rig.of_image("good:1"))
    rig.now += 11
    rig.turn()
    rig.turn()
    assert len(rig.of_image("good:1")) <= before


def test_one_service_is_looked_at_whole() -> None:
    rig = settled()
    groups = grouped(list(rig.instances.values()))
    found = look.look_at(rig.wanted, "x", rig.wanted.services["x"], groups["x"], rig.now)
    assert (found.wanted, len(found.slots), found.surplus) == (2, 2, ())
    assert found.complete
    assert not canary.applies(found)
    assert verdict.failure(found) is None
    assert turn.Turn is not None


@pytest.mark.parametrize(
    ("value", "up", "down"), [("25%", 1, 0), ("50%", 1, 1), (2, 2, 2), ("100%", 2, 2), ("0%", 0, 0)]
)
def test_shares_are_rounded_to_the_safe_side(value: int | str, up: int, down: int) -> None:
    assert (share(value, 2, up=True), share(value, 2, up=False)) == (up, down)


def test_who_cannot_live_side_by_side_is_replaced_stop_first_with_a_reason() -> None:
    data = service(1, mounts=(BindMount(source="/srv", target="/data"),))
    assert method(data).stop_first
    assert "one writer" in method(data).reason
    port = Endpoint(name="e", protocol="tcp", port=1, target_port=1)
    host = service(1, network_mode="host", endpoints=(port,))
    assert "ports of the host" in method(host).reason
    assert not method(service(1)).stop_first


def test_a_canarys_share_is_its_servers_together() -> None:
    update = Update(strategy="canary", min_ready=Seconds(0), steps=(Step(weight=20, pause=None),), max_surge=1)
    rig = Rig.of(x=service(4, "good:1", update=update))
    for _ in range(20):
        rig.turn()
        rig.live()
        rig.now += 5
    rig.wish(x=service(4, "good:2", update=update))
    for _ in range(20):
        rig.turn()
        rig.live()
        rig.now += 5
    seen = list(rig.instances.values())
    weights = admission(rig.wanted, seen).weights
    new = {one.id for one in seen if one.instance.spec.image == "good:2" and one.ready}
    old = {one.id for one in seen if one.instance.spec.image == "good:1" and one.ready and one.live}
    total = sum(weights[key] for key in new | old if key in weights)
    assert total
    assert abs(sum(weights[key] for key in new) / total - 0.2) < 0.02
