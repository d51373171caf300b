"""The words of `ps`, and what an `up` explains beforehand."""

from __future__ import annotations

from zlayer.model.container import Restart, VolumeMount
from zlayer.model.endpoint import Update
from zlayer.model.instance import Deployment, Instance, State
from zlayer.model.rollout import Rollout
from zlayer.plan.actions import Create
from zlayer.plan.compare import changes, compare
from zlayer.plan.kept import Kept
from zlayer.plan.rollout import rollout
from zlayer.plan.seen import Seen
from zlayer.plan.summary import ServiceSummary, summarise
from zlayer.testing.builders import container, deployment, seen, service


def made(wanted: Deployment, **update: object) -> list[Instance]:
    return [
        c.instance.model_copy(update={"node": "n1", **update})
        for c in rollout(wanted, [], 1.0).changes
        if isinstance(c, Create)
    ]


def test_statuses() -> None:
    wanted = deployment(web=service(2))
    instances = made(wanted)
    assert summarise(wanted, []).status == "pending"
    assert summarise(wanted, [seen(i, State.RUNNING) for i in instances]).status == "deploying"
    assert summarise(wanted, [seen(i, State.READY) for i in instances]).status == "running"
    assert summarise(wanted, [seen(i, State.READY, health="unhealthy") for i in instances]).status == "deploying"
    down = wanted.model_copy(update={"desired": "removed"})
    assert summarise(down, [seen(i, State.STOPPING) for i in instances]).status == "removing"
    stopped = wanted.model_copy(update={"desired": "stopped"})
    assert summarise(stopped, [seen(i, State.EXITED) for i in instances]).status == "stopped"


def test_a_replica_that_will_not_come_back_is_a_failure_with_its_reason() -> None:
    wanted = deployment(web=service(1, restart=Restart(kind="no")))
    [instance] = made(wanted)
    summary = summarise(wanted, [seen(instance, State.EXITED, exit_code=3)])
    assert (summary.status, summary.message, summary.culprit) == (
        "failed",
        "web: replica 1 exited with code 3",
        instance.id,
    )


def test_a_replica_that_keeps_ending_is_a_failure_and_a_single_crash_is_not() -> None:
    wanted = deployment(web=service(1))
    [first] = made(wanted)
    assert summarise(wanted, [seen(first, State.EXITED, exit_code=1)]).status == "deploying"
    [again] = made(wanted, failures=3)
    assert summarise(wanted, [seen(again, State.EXITED, oom=True)]).message == "web: replica 1 killed: out of memory"
    assert "keeps ending (3 times" in summarise(wanted, [seen(again, State.RUNNING)]).message


def test_what_was_found_before_is_found_again_only_while_it_is_so() -> None:
    wanted = deployment(web=service(1), db=service(1))
    web, db = made(wanted)
    ended = seen(web, State.EXITED, exit_code=1)
    again = seen(web.model_copy(update={"failures": 3}), State.EXITED, exit_code=1)
    asked = wanted.model_copy(update={"asked_at": again.instance.created_at + 1.0})
    stopped = asked.model_copy(update={"services": {"web": wanted.services["web"]}})
    known: Kept[ServiceSummary] = Kept()
    for one in (wanted, asked, stopped, wanted):
        for group in ([], [ended], [again], [again, seen(db, State.READY)]):
            assert summarise(one, group, known) == summarise(one, group)


def test_what_is_left_of_the_past_is_not_running_yet() -> None:
    wanted = deployment(web=service(1))
    [one] = made(wanted)
    other = one.model_copy(update={"id": "x", "service": "gone", "desired": "removed"})
    assert summarise(wanted, [seen(one, State.READY), seen(other, State.STOPPING)]).status == "deploying"


def test_a_service_is_settled_once_a_surplus_replica_is_forgotten() -> None:
    wanted = deployment(web=service(1))
    one, surplus = made(deployment(web=service(2)))
    leaving = surplus.model_copy(update={"desired": "removed"})
    ended = seen(leaving, State.EXITED, exit_code=0)
    assert not summarise(wanted, [seen(one, State.READY), ended]).services[0].settled
    assert summarise(wanted, [seen(one, State.READY)]).services[0].settled
    history = surplus.model_copy(update={"slot": 1, "desired": "stopped"})
    assert summarise(wanted, [seen(one, State.READY), seen(history, State.EXITED)]).services[0].settled


def test_what_a_replica_waits_for_is_noted() -> None:
    wanted = deployment(web=service(2))
    first, second = made(wanted)
    reason = "pulling app:1 (1.0 of 2.0 MiB)"
    waiting = [seen(first, State.READY, reason="old"), seen(second, State.PREPARING, reason=reason)]
    assert summarise(wanted, waiting).services[0].note == f"web-2: {reason}"
    assert summarise(wanted, [seen(first, State.READY), seen(second, State.READY)]).services[0].note == ""


def test_a_reason_is_no_verb() -> None:
    wanted = deployment(web=service(1, restart=Restart(kind="no")))
    [instance] = made(wanted)
    assert summarise(wanted, [seen(instance, State.FAILED, reason="no such image")]).message == (
        "web: replica 1: no such image"
    )
    stopping = wanted.model_copy(update={"desired": "stopped"})
    assert summarise(stopping, [seen(instance, State.STOPPING)]).status == "stopping"


def test_compare_says_what_and_why() -> None:
    old = deployment(web=service(3), db=service(1), gone=service(1))
    there = [Seen(i) for i in made(old)]
    new = {"web": service(2, env={"KEY": "secret"}), "db": service(1), "new": service(1)}
    found = {(d.service, d.slot): (d.action, d.reason) for d in compare(new, there)}
    assert found == {
        ("web", 1): ("replace", "start-first: env.KEY changed"),
        ("web", 2): ("replace", "start-first: env.KEY changed"),
        ("web", 3): ("remove", "fewer replicas are wanted"),
        ("db", 1): ("keep", "nothing changed"),
        ("new", 1): ("create", "new replica"),
        ("gone", 1): ("remove", "the service is no longer in the file"),
    }


def test_a_plan_says_why_it_stops_first() -> None:
    data = VolumeMount(target="/data", name="pgdata")
    old, asked = service(1, mounts=(data,)), service(1, update=Update(order="stop_first"))
    there = [Seen(i) for i in made(deployment(db=old, web=asked))]
    new = {"db": service(1, mounts=(data,), env={"A": "1"}), "web": service(1, update=asked.update, env={"A": "1"})}
    assert [one.reason for one in compare(new, there)] == [
        "stop-first: env.A changed; volume pgdata has one writer at a time",
        "stop-first: env.A changed",
    ]


def test_changes_name_fields_and_never_values() -> None:
    old = container(env={"A": "1", "B": "2"}, resources={"memory": 1})
    new = container(env={"A": "hunter2"}, resources={"memory": 2}, user="app")
    assert changes(old, new) == ["env.A", "env.B", "user", "resources.memory"]
    assert changes(old, old) == []


def test_a_service_of_no_replicas_has_nothing_to_prove() -> None:
    """Scaled to 0 before it was found good, it would have been `updating` for ever."""
    web = service(1)
    proven = Rollout(state="good", proven={"web": web.container.digest()})
    wanted = deployment(web=web, job=service(0)).model_copy(update={"rollout": proven})
    [one] = made(wanted)
    assert summarise(wanted, [seen(one, State.READY)]).status == "running"
    more = deployment(web=web, job=service(1)).model_copy(update={"rollout": proven})
    assert summarise(more, [seen(one, State.READY)]).status == "updating"
