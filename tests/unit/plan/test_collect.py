"""What may be forgotten, and what never."""

from __future__ import annotations

from zlayer.model.instance import ONE_OFF, Instance, State
from zlayer.model.network import Network
from zlayer.model.units import Timestamp
from zlayer.plan.collect import KEEP_ENDED, KEEP_ONE_OFFS, collect
from zlayer.plan.seen import Seen
from zlayer.testing.builders import container, deployment, seen, service


def make(name: str, **fields: object) -> Instance:
    spec = container()
    base = {"deployment": "shop", "service": "web", "slot": 1, "revision": 1, "node": "n1", "created_at": Timestamp(1)}
    return Instance.model_validate({"id": name, "spec": spec, "digest": spec.digest(), **base, **fields})


def by_id(*all_: Seen) -> dict[str, Seen]:
    return {one.id: one for one in all_}


def test_a_removed_instance_is_forgotten_once_nothing_of_it_is_left() -> None:
    ending = seen(make("a", desired="removed"), State.EXITED, released=True)
    gone = seen(make("b", desired="removed"), State.EXITED, gone=True)
    never_placed = seen(make("c", desired="removed", node=None))
    wanted = seen(make("d"), State.READY)
    found = collect({}, by_id(ending, gone, never_placed, wanted), {})
    assert found.forget == ("b", "c")


def test_run_rm_is_forgotten_without_being_asked() -> None:
    gone = seen(make("a", deployment=ONE_OFF, remove_on_exit=True), State.EXITED, gone=True)
    assert collect({}, by_id(gone), {}).forget == ("a",)


def test_an_address_is_freed_when_its_instance_ended_and_let_go() -> None:
    held = {"n1/10.0.0.2": "a", "n1/10.0.0.3": "b", "n1/10.0.0.4": "nobody", "n1/10.0.0.5": "d"}
    instances = by_id(
        seen(make("a"), State.READY), seen(make("b"), State.EXITED), seen(make("d"), State.EXITED, released=False)
    )
    assert collect({}, instances, held).addresses == ("n1/10.0.0.3", "n1/10.0.0.4")


def test_the_newest_ended_instances_of_a_replica_are_kept() -> None:
    old = [
        seen(make(f"i{n:02}", desired="stopped", created_at=Timestamp(n)), State.EXITED) for n in range(KEEP_ENDED + 4)
    ]
    assert collect({}, by_id(*old), {}).remove == ("i00", "i01", "i02", "i03")


def test_kept_one_offs_have_a_limit_of_their_own() -> None:
    runs = [
        seen(make(f"r{n:03}", deployment=ONE_OFF, created_at=Timestamp(n)), State.EXITED)
        for n in range(KEEP_ONE_OFFS + 2)
    ]
    assert collect({}, by_id(*runs), {}).remove == ("r000", "r001")


def test_a_removed_deployment_goes_after_its_last_instance() -> None:
    down = deployment(web=service()).model_copy(update={"desired": "removed"})
    left = seen(make("a", desired="removed"), State.STOPPING)
    assert collect({"shop": down}, by_id(left), {}).deployments == ()
    assert collect({"shop": down}, {}, {}).deployments == ("shop",)
    assert collect({"shop": deployment()}, {}, {}).deployments == ()


def test_a_network_goes_with_its_deployments_last_address_and_one_offs_keep_theirs() -> None:
    def network(name: str, number: int) -> Network:
        return Network(node="n1", deployment=name, number=number, blocks=(f"10.0.0.{number * 64}/26",))

    networks = {f"n1/{name}": network(name, n) for n, name in enumerate(("shop", "blog", ONE_OFF))}
    up = {"shop": deployment()}
    assert collect(up, {}, {}, networks).networks == ("n1/blog",)
    held = {"n1/10.0.0.70": "a"}
    using = by_id(seen(make("a", deployment="blog"), State.STOPPING))
    assert collect(up, using, held, networks).networks == ()
    assert collect(up, using, {"n2/10.0.0.70": "a"}, networks).networks == ("n1/blog",)
    down = {"shop": deployment().model_copy(update={"desired": "removed"})}
    assert collect(down, {}, {}, networks).networks == ("n1/blog", "n1/shop")
