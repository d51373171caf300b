from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from zlayer.model.instance import Service
from zlayer.plan.kept import Kept, PerService
from zlayer.plan.seen import Seen
from zlayer.testing.builders import deployment, service

from .test_routes import replica


def test_the_same_objects_are_the_same_answer() -> None:
    kept: Kept[int] = Kept()
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    one, two = object(), object()
    assert [kept.get("a", (one,), make), kept.get("a", (one,), make), kept.get("a", (two,), make)] == [1, 1, 2]
    kept.only({})
    assert kept.get("a", (two,), make) == 3


def test_of_a_deployments_services_those_that_changed_are_made_again() -> None:
    kept: PerService[tuple[str, ...]] = PerService()
    made: list[str] = []
    shop = deployment(web=service(2), api=service(1), idle=service(0))
    web, more, api = (replica(shop, slot, name=name) for slot, name in ((1, "web"), (2, "web"), (3, "api")))
    home = object()

    def make(name: str, _: Service, replicas: Sequence[Seen]) -> tuple[str, ...]:
        made.append(name)
        return tuple(one.id for one in replicas)

    def get(
        services: Mapping[str, Service], *group: Seen, around: object = home
    ) -> tuple[dict[str, object], list[str]]:
        made.clear()
        found = kept.get(services, {one.id: one for one in group}, (around,), make)
        return dict(found), made.copy()

    whole = {"web": (web.id, more.id), "api": (api.id,), "idle": ()}
    assert get(shop.services, web, more, api) == (whole, ["web", "api", "idle"])
    assert get(shop.services, web, more, api) == (whole, [])
    assert get(shop.services, web, api) == (whole | {"web": (web.id,)}, ["web"]), "one leaves"
    assert get(shop.services, web, replica(shop, 2), api) == (whole, ["web"]), "one comes"
    assert get(shop.services, replica(shop, 1), more, api)[1] == ["web"], "another object: something of it changed"
    changed = {**shop.services, "idle": service(1)}
    assert get(changed, *_group(kept))[1] == ["idle"]
    fewer = {name: one for name, one in changed.items() if name != "web"}
    assert get(fewer, *_group(kept)) == ({"api": (api.id,), "idle": ()}, [])
    assert get(changed, *_group(kept))[1] == ["web"], "it is back"
    assert get(changed, *_group(kept), around=object())[1] == ["web", "api", "idle"]


def test_what_failed_is_made_again() -> None:
    kept: PerService[int] = PerService()
    shop = deployment(web=service(1))
    one = replica(shop)

    def fail(_name: str, _service: Service, _replicas: Sequence[Seen]) -> int:
        raise ValueError("no")

    assert kept.get(shop.services, {}, (), lambda _name, _service, replicas: len(replicas)) == {"web": 0}
    with pytest.raises(ValueError, match="no"):
        kept.get(shop.services, {one.id: one}, (), fail)
    assert kept.get(shop.services, {one.id: one}, (), lambda _name, _service, replicas: len(replicas)) == {"web": 1}


def _group(kept: PerService[tuple[str, ...]]) -> list[Seen]:
    return list(kept._group.values())
