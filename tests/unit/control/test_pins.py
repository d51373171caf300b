from __future__ import annotations

import pytest

from zlayer.control.pins import Pins
from zlayer.model.container import ContainerSpec
from zlayer.model.errors import Unavailable
from zlayer.model.instance import State
from zlayer.plan.actions import Create
from zlayer.plan.rollout import rollout
from zlayer.plan.seen import Seen
from zlayer.testing.builders import container, deployment, seen, service

pytestmark = pytest.mark.anyio
OLD, NEW = "sha256:old", "sha256:new"


async def runs(*digests: str) -> list[Seen]:
    """A service of so many replicas, each made from the image of that digest."""
    wanted = deployment(web=service(len(digests)))
    made = [c.instance for c in rollout(wanted, [], 1.0).changes if isinstance(c, Create)]
    return [seen(one, State.READY, image_digest=digest) for one, digest in zip(made, digests, strict=True)]


async def nothing() -> list[Seen]:
    return []


def serving(digest: str | None) -> Pins:
    """A registry that serves `digest`, or does not answer; the node has every image under the digest it asks for."""

    async def resolve(_: ContainerSpec) -> str:
        if digest is None:
            raise Unavailable("no registry")
        return digest

    async def local(pinned: ContainerSpec) -> str | None:
        return pinned.pin

    return Pins(resolve, local)


async def test_a_policy_that_asks_pins_and_one_that_does_not_keeps_the_pin() -> None:
    asking, quiet = container(pull_policy="always"), container()
    pinned = await serving(OLD).of(asking, None, nothing)
    assert pinned.pin == OLD
    assert (await serving(NEW).of(asking, pinned, nothing)).pin == NEW
    kept = await serving(NEW).of(quiet, pinned, nothing)
    assert (kept.pin, kept.digest()) == (OLD, pinned.digest())
    assert (await serving(NEW).of(container(image="other.test/app:2"), pinned, nothing)).pin is None


async def test_asking_for_what_runs_already_changes_nothing() -> None:
    before, asking = container(), container(pull_policy="always")
    assert await serving(OLD).of(asking, before, lambda: runs(OLD, OLD)) == before
    assert (await serving(NEW).of(asking, before, lambda: runs(OLD, OLD))).pin == NEW
    assert (await serving(NEW).of(asking, before, lambda: runs(OLD, NEW))).pin == NEW
    assert (await serving(OLD).of(asking, before, nothing)).pin == OLD, "nobody runs: pinned from the start"


async def test_a_registry_that_does_not_answer() -> None:
    pinned = await serving(OLD).of(container(pull_policy="newer"), None, nothing)
    assert (await serving(None).of(container(pull_policy="newer"), pinned, nothing)).pin == OLD
    with pytest.raises(Unavailable):
        await serving(None).of(container(pull_policy="always"), pinned, nothing)


async def test_one_deploy_asks_once_for_an_image_of_many_services() -> None:
    asked: list[str] = []

    async def resolve(spec: ContainerSpec) -> str:
        asked.append(spec.image)
        return f"sha256:{len(asked)}"

    pins = Pins(resolve).for_one_deploy()
    for image in ("a:1", "a:1", "b:1", "a:1"):
        await pins.of(container(image=image, pull_policy="always"), None, nothing)
    assert asked == ["a:1", "b:1"]
    await Pins(resolve).of(container(image="a:1", pull_policy="always"), None, nothing)
    assert len(asked) == 3, "the next deploy asks again"
