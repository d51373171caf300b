"""Rollout: properties over random worlds first, examples of each rule after."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.model.container import BindMount, Restart, TmpfsMount, VolumeMount
from zlayer.model.endpoint import Endpoint
from zlayer.model.instance import Dependency, Deployment, Instance, State
from zlayer.plan.actions import Admit, Create, Decision, Want
from zlayer.plan.rollout import rollout
from zlayer.plan.seen import Seen
from zlayer.plan.update.strategy import method, why_stop_first
from zlayer.testing.builders import deployment, seen, service

NOW = 1000.0


def surge(replicas: int) -> int:
    return method(service(replicas)).surge


class Cluster:
    """Applies decisions to a dictionary and lets instances progress, as controllers and agents would."""

    def __init__(self, wanted: Deployment) -> None:
        self.wanted = wanted
        self.seen: dict[str, Seen] = {}
        self.now = NOW
        self.made: list[str] = []

    def decide(self) -> Decision:
        return rollout(self.wanted, list(self.seen.values()), self.now)

    def apply(self, decision: Decision, *, only: int | None = None) -> None:
        for change in decision.changes[:only]:
            match change:
                case Create(instance=instance):
                    assert instance.id not in self.seen, "an id was minted twice"
                    self.made.append(instance.id)
                    self.seen[instance.id] = Seen(instance.model_copy(update={"node": "n1"}))
                case Want(instance_id=key, desired=desired):
                    old = self.seen[key]
                    self.seen[key] = Seen(old.instance.model_copy(update={"desired": desired}), old.status)
                case Admit(instance_id=key):
                    old = self.seen[key]
                    self.seen[key] = Seen(old.instance.model_copy(update={"held": False}), old.status)

    def progress(self, draw: Any) -> None:
        """Each instance may move on; unwanted ones end and vanish."""
        for key, one in list(self.seen.items()):
            if not draw():
                continue
            if one.instance.desired == "removed":
                del self.seen[key]
            elif one.instance.desired == "stopped" or one.ended:
                self.seen[key] = seen(one.instance, State.EXITED, exit_code=0)
            elif one.state < State.RUNNING:
                self.seen[key] = seen(one.instance, State.RUNNING)
            else:
                self.seen[key] = seen(one.instance, State.READY)

    def ready(self) -> int:
        return sum(one.ready for one in self.seen.values() if one.live)


def settle(cluster: Cluster, limit: int = 400) -> None:
    for _ in range(limit):
        decision = cluster.decide()
        cluster.apply(decision)
        cluster.progress(lambda: True)
        if not decision.changes and not cluster.decide().changes and all(o.ready for o in cluster.seen.values()):
            return
    raise AssertionError("does not converge")


@given(
    first=st.integers(0, 9),
    second=st.integers(0, 9),
    image=st.sampled_from(["a:1", "b:1"]),
    chances=st.lists(st.booleans(), min_size=40, max_size=200),
    cut=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_replacing_and_scaling_converges_from_anywhere(
    first: int, second: int, image: str, chances: list[bool], cut: int
) -> None:
    """Interrupted batches, late statuses: it still converges, and never goes below the floor or above the surge."""
    cluster = Cluster(deployment(web=service(first, "a:1")))
    settle(cluster)
    cluster.wanted = deployment(revision=2, web=service(second, image))
    floor = min(first, second)
    ceiling = max(first, second) + surge(second)
    stream = iter(chances)
    for _ in range(30):
        cluster.apply(cluster.decide(), only=cut or None)
        cluster.progress(lambda: next(stream, True))
        assert cluster.ready() >= floor
        assert sum(o.live for o in cluster.seen.values()) <= ceiling
    settle(cluster)
    live = [o for o in cluster.seen.values() if o.live]
    assert sorted(o.instance.slot for o in live) == list(range(1, second + 1))
    assert all(o.instance.spec.image == image for o in live)
    assert cluster.decide().changes == ()


@given(count=st.integers(0, 6))
def test_a_decision_is_a_function_of_what_is_seen(count: int) -> None:
    cluster = Cluster(deployment(web=service(count)))
    assert cluster.decide() == cluster.decide()


def test_what_did_not_change_is_not_touched() -> None:
    cluster = Cluster(deployment(web=service(2), api=service(1)))
    settle(cluster)
    before = dict(cluster.seen)
    cluster.wanted = deployment(revision=2, web=service(2), api=service(1, env={"A": "1"}))
    settle(cluster)
    for key, one in before.items():
        assert (key in cluster.seen) == (one.instance.service == "web")


def crashed(code: int = 1, *, attempt: int = 0, restart: Restart | None = None, ran: float = 1.0) -> Cluster:
    cluster = Cluster(deployment(web=service(1, restart=restart or Restart())))
    cluster.apply(cluster.decide())
    [one] = cluster.seen.values()
    instance = one.instance.model_copy(update={"attempt": attempt, "failures": attempt})
    ended = {"exit_code": code, "started_at": NOW - ran, "finished_at": NOW}
    cluster.seen = {instance.id: seen(instance, State.EXITED, **ended)}
    return cluster


def test_an_ended_instance_is_followed_by_another_after_a_pause() -> None:
    cluster = crashed()
    waiting = cluster.decide()
    assert waiting.changes == ()
    assert waiting.wake_at is not None
    assert NOW < waiting.wake_at <= NOW + 0.5
    cluster.now = waiting.wake_at
    create, want = cluster.decide().changes
    assert isinstance(create, Create)
    assert create.instance.attempt == 1
    assert create.instance.failures == 1
    assert isinstance(want, Want)
    assert want.desired == "stopped"


def test_the_pause_grows_with_failures_and_is_forgotten_after_a_stable_run() -> None:
    short, long = crashed(attempt=1).decide(), crashed(attempt=6).decide()
    assert short.wake_at is not None
    assert long.wake_at is not None
    assert long.wake_at - NOW > 10 * (short.wake_at - NOW)
    stable = crashed(attempt=6, ran=3600.0).decide()
    assert stable.wake_at is not None
    assert stable.wake_at - NOW <= 0.5


def test_restart_policies() -> None:
    never = Restart(kind="no")
    on_failure = Restart(kind="on_failure")
    assert crashed(1, restart=never).decide().wake_at is None
    assert crashed(0, restart=on_failure).decide().wake_at is None
    assert crashed(1, restart=on_failure).decide().wake_at is not None
    given_up = crashed(1, attempt=3, restart=Restart(max_attempts=3)).decide()
    assert given_up.wake_at is None
    assert "gave up after 3 restarts" in given_up.waits[0].reason


def test_host_ports_are_replaced_stop_first() -> None:
    endpoint = Endpoint(name="http", protocol="http", port=80, target_port=80)
    ports: dict[str, Any] = {"network_mode": "host", "endpoints": (endpoint,)}
    cluster = Cluster(deployment(web=service(1, **ports)))
    settle(cluster)
    cluster.wanted = deployment(revision=2, web=service(1, "b:1", **ports))
    [change] = cluster.decide().changes
    assert isinstance(change, Want)
    cluster.apply(cluster.decide())
    assert cluster.decide().changes == ()
    assert "predecessor" in cluster.decide().waits[0].reason
    settle(cluster)
    assert [o.instance.spec.image for o in cluster.seen.values()] == ["b:1"]


def test_data_with_one_writer_never_has_two() -> None:
    data = VolumeMount(name="data", target="/data")
    kept = [data, BindMount(source="/srv", target="/data")]
    passing = [
        TmpfsMount(target="/tmp"),
        VolumeMount(name=None, target="/x"),
        data.model_copy(update={"readonly": True}),
    ]
    assert all(why_stop_first(service(1, mounts=(mount,))) for mount in kept)
    assert not why_stop_first(service(1, mounts=tuple(passing)))
    assert not why_stop_first(service(2, mounts=(data,))), "its replicas share the data as it is"


def test_a_broken_revision_never_replaces_more_than_the_surge() -> None:
    cluster = Cluster(deployment(web=service(8)))
    settle(cluster)
    cluster.wanted = deployment(revision=2, web=service(8, "broken:1"))
    for _ in range(20):
        cluster.apply(cluster.decide())
        for key, one in list(cluster.seen.items()):
            if one.instance.spec.image == "broken:1" and not one.ended:
                cluster.seen[key] = seen(one.instance, State.FAILED, finished_at=cluster.now)
        cluster.now += 100
        assert cluster.ready() == 8
    assert sum(o.instance.spec.image == "broken:1" for o in cluster.seen.values() if o.live) <= surge(8)


def test_dependencies_hold_services_back_until_their_condition() -> None:
    wanted = deployment(db=service(1), web=service(1, depends=(Dependency(service="db", condition="healthy"),)))
    wanted = wanted.model_copy(update={"updated_at": NOW})
    cluster = Cluster(wanted)
    first = cluster.decide()
    assert [c.instance.service for c in first.changes if isinstance(c, Create)] == ["db"]
    assert "waits for db: 0 of 1 ready" in first.waits[0].reason
    assert first.wake_at == NOW + 300
    settle(cluster)
    assert {o.instance.service for o in cluster.seen.values()} == {"db", "web"}


def test_a_dependency_that_times_out_fails_or_is_passed_over() -> None:
    for on_timeout, created in (("fail", False), ("continue", True)):
        door = Dependency(service="db", timeout=5, on_timeout=on_timeout)
        wanted = deployment(db=service(1, image="stuck:1"), web=service(1, depends=(door,)))
        cluster = Cluster(wanted)
        for _ in range(2):
            cluster.apply(cluster.decide())
        services = {one.instance.service for one in cluster.seen.values()}
        assert ("web" in services) is created


def test_stop_keeps_and_down_removes() -> None:
    cluster = Cluster(deployment(web=service(2)))
    settle(cluster)
    for desired in ("stopped", "removed"):
        cluster.wanted = cluster.wanted.model_copy(update={"desired": desired})
        changes = cluster.decide().changes
        assert [c.desired for c in changes if isinstance(c, Want)] == [desired, desired]
        cluster.apply(cluster.decide())
        cluster.progress(lambda: True)
    assert cluster.seen == {}


def test_ids_differ_between_revisions_and_attempts() -> None:
    def ids(revision: int) -> list[str]:
        cluster = Cluster(deployment(revision=revision, web=service(2)))
        return [c.instance.id for c in cluster.decide().changes if isinstance(c, Create)]

    assert len({*ids(1), *ids(2)}) == 4


def test_instances_inherit_what_the_service_says() -> None:
    wanted = deployment(web=service(1, env={"A": "1"}))
    [change] = Cluster(wanted).decide().changes
    assert isinstance(change, Create)
    instance: Instance = change.instance
    assert instance.spec == wanted.services["web"].container
    assert instance.digest == instance.spec.digest()
    assert instance.deployment == "shop"
