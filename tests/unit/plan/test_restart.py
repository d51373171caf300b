"""The restart policy, gate and age of instances, one rule at a time."""

from __future__ import annotations

import pytest

from zlayer.model.container import Restart
from zlayer.model.instance import Dependency, Instance, State
from zlayer.model.units import Timestamp
from zlayer.plan.backoff import STABLE
from zlayer.plan.depends import OPEN, gate
from zlayer.plan.restart import asked_again, describe_end, judge, unwell
from zlayer.plan.seen import Seen, by_slot
from zlayer.testing.builders import container, deployment, seen, service

SPEC = container()


def one(name: str = "a", **fields: object) -> Instance:
    base = {"deployment": "shop", "service": "web", "slot": 1, "revision": 1, "node": "n1"}
    return Instance.model_validate({"id": name, "spec": SPEC, "digest": SPEC.digest(), **base, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"exit_code": 3}, "exited with code 3"),
        ({"exit_code": 137, "oom": True, "reason": "x"}, "killed: out of memory"),
        ({"reason": "no such image"}, "no such image"),
        ({}, "ended, exit code unknown"),
    ],
)
def test_an_end_in_words(fields: dict[str, object], words: str) -> None:
    assert describe_end(seen(one(), State.EXITED, **fields)) == words
    assert describe_end(Seen(one())) == "never started"


def test_a_failure_to_start_counts_as_a_failure_whatever_its_code() -> None:
    kept = one(spec=container(restart=Restart(kind="on_failure")))
    assert judge(seen(kept, State.FAILED, exit_code=0)).at is not None
    assert judge(seen(kept, State.EXITED, exit_code=0)).at is None
    assert judge(seen(kept, State.EXITED, exit_code=None)).at is not None, "unknown is not success"


def test_a_stable_run_forgets_earlier_failures() -> None:
    ran = {"started_at": Timestamp(100), "finished_at": Timestamp(100 + STABLE)}
    assert judge(seen(one(failures=7), State.EXITED, exit_code=1, **ran)).failures == 1
    short = {"started_at": Timestamp(100), "finished_at": Timestamp(100 + STABLE - 1)}
    assert judge(seen(one(failures=7), State.EXITED, exit_code=1, **short)).failures == 8


def test_slots_are_read_oldest_first() -> None:
    young, old = one("b", created_at=Timestamp(2)), one("a", created_at=Timestamp(1))
    assert [s.id for s in by_slot([Seen(young), Seen(old)])[1]] == ["a", "b"]


def test_what_holds_nothing_of_a_machine() -> None:
    assert Seen(one(node=None)).released
    assert not Seen(one()).released
    assert seen(one(), State.EXITED).released


@pytest.mark.parametrize(("condition", "state", "opens"), [
    ("started", State.RUNNING, True),
    ("started", State.CREATED, False),
    ("healthy", State.RUNNING, False),
    ("healthy", State.READY, True),
    ("ready", State.READY, True),
])  # fmt: skip
def test_a_gate_looks_at_every_wanted_replica(condition: str, state: State, opens: bool) -> None:
    door = Dependency.model_validate({"service": "db", "condition": condition})
    wanted = deployment(db=service(2), web=service(depends=(door,)))
    first = seen(one("d1", service="db", slot=1), state)
    second = seen(one("d2", service="db", slot=2), state)
    assert gate(wanted.services["web"], wanted, {"db": [first, second]}, 0.0).open is opens
    assert not gate(wanted.services["web"], wanted, {"db": [first]}, 0.0).open
    gone = second.instance.model_copy(update={"desired": "removed"})
    assert not gate(wanted.services["web"], wanted, {"db": [first, Seen(gone, second.status)]}, 0.0).open


def test_no_dependency_no_gate_and_a_stopped_one_never_opens() -> None:
    wanted = deployment(web=service())
    assert gate(wanted.services["web"], wanted, {}, 0.0) is OPEN
    door = Dependency(service="db")
    stopped = deployment(db=service(stopped=True), web=service(depends=(door,)))
    assert gate(stopped.services["web"], stopped, {}, 0.0).reason == "service db is not there or stopped"


@pytest.mark.parametrize(
    ("kind", "state", "code", "expected"),
    [
        ("always", State.EXITED, 0, True),
        ("on_failure", State.EXITED, 1, True),
        ("on_failure", State.EXITED, 0, False),
        ("no", State.EXITED, 0, False),
        ("no", State.EXITED, 3, True),
        ("no", State.EXITED, None, True),
        ("no", State.FAILED, 0, True),
        ("no", State.READY, None, False),
    ],
)
def test_what_another_up_tries_again(kind: str, state: State, code: int | None, expected: bool) -> None:
    """What failed or waits for its back-off; never a job that is done."""
    wanted = one(spec=container(restart=Restart.model_validate({"kind": kind})))
    assert unwell(seen(wanted, state, exit_code=code)) is expected
    assert asked_again(seen(wanted, state, exit_code=code), asked_at=10.0) is expected
    assert not asked_again(seen(wanted, state, exit_code=code), asked_at=9.0), "it ended after that"
    assert not unwell(seen(wanted.model_copy(update={"desired": "stopped"}), state, exit_code=code))
