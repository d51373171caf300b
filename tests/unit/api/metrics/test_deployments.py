"""What is told of deployments (zlayer.api.metrics.deployments), from pictures made by hand."""

from __future__ import annotations

from collections.abc import Iterable

from zlayer.api.metrics.deployments import deployments, instances
from zlayer.api.metrics.exposition import Family, exposition
from zlayer.model.instance import ONE_OFF, Deployment, Instance, State
from zlayer.model.rollout import Rollout
from zlayer.plan.seen import Seen
from zlayer.store.view import Picture
from zlayer.testing.builders import container, deployment, seen, service
from zlayer.testing.prometheus import Metric, parse


def made(slot: int, state: State | None, *, of: str = "shop", **fields: object) -> Seen:
    known = {"attempt": 0, "revision": 1, "spec": container(), "digest": container().digest(), "node": "n1", **fields}
    name = f"{of}-web-{slot}-{known['revision']}-{known['attempt']}"
    return seen(Instance(id=name, deployment=of, service="web", slot=slot, **known), state)


def told(wishes: Iterable[Deployment], members: Iterable[Seen]) -> dict[str, Metric]:
    groups: dict[str, dict[str, Seen]] = {}
    for member in members:
        groups.setdefault(member.instance.deployment, {})[member.id] = member
    picture = Picture(1, {one.name: one for one in wishes}, groups, {}, {})
    families: list[Family] = [*deployments(picture), *instances(picture)]
    return parse(exposition(families).decode())


WEB = {"deployment": "shop", "service": "web"}


def test_wanted_there_and_ready() -> None:
    members = [made(1, State.READY), made(2, State.RUNNING), made(3, State.READY, held=True), made(4, None)]
    found = told([deployment("shop", 7, web=service(4), idle=service(0))], members)
    assert found["zlayer_deployments"].value() == 1
    assert found["zlayer_deployment_revision"].value(deployment="shop") == 7
    assert found["zlayer_service_replicas_desired"].value(**WEB) == 4
    assert found["zlayer_service_replicas_running"].value(**WEB) == 3
    assert found["zlayer_service_replicas_ready"].value(**WEB) == 1
    assert found["zlayer_service_replicas_ready"].value(deployment="shop", service="idle") == 0
    assert found["zlayer_deployment_status"].samples == {
        frozenset({("deployment", "shop"), ("status", "deploying")}): 1
    }


def test_an_update_is_in_progress_until_it_is_judged() -> None:
    states = {"a": "new", "b": "updating", "c": "good", "d": "failed", "e": "updating"}
    wishes = [
        deployment(name, web=service()).model_copy(update={"rollout": Rollout(state=state)})
        for name, state in states.items()
    ]
    wishes[-1] = wishes[-1].model_copy(update={"desired": "stopped"})
    found = told(wishes, [])["zlayer_deployment_update_in_progress"]
    assert [found.value(deployment=name) for name in states] == [0, 1, 0, 0, 0]


def test_instances_by_state_with_one_offs_and_states_nobody_is_in() -> None:
    members = [made(1, State.READY), made(2, State.EXITED), made(1, State.RUNNING, of=ONE_OFF)]
    found = told([deployment("shop", web=service(2))], members)
    assert found["zlayer_instances"].value(state="running") == 2
    assert found["zlayer_instances"].value(state="exited") == 1
    assert found["zlayer_instances"].value(state="lost") == 0
    assert found["zlayer_replica_restarts_total"].labels("deployment") == {"shop"}


def test_restarts_of_a_replica_fall_to_nothing_only() -> None:
    """While its replacement is on trial the count is the old one's; a fall to less than that would be no reset."""
    old, ended = made(1, State.READY, attempt=5), made(1, State.EXITED, attempt=4, desired="removed")
    new = made(1, State.RUNNING, revision=2, held=True)
    wish, labels = deployment("shop", web=service()), {**WEB, "replica": "1"}
    gone = made(1, State.EXITED, attempt=5, desired="removed")
    turns = ([ended, old], [old, new], [gone, new])
    counts = [told([wish], members)["zlayer_replica_restarts_total"].value(**labels) for members in turns]
    assert counts == [5, 5, 0]
    assert told([wish], [ended])["zlayer_replica_restarts_total"].value(**labels) == 4
