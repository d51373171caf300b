from __future__ import annotations

from zlayer.model.endpoint import Endpoint
from zlayer.model.instance import Service
from zlayer.plan.listeners import clashes
from zlayer.testing.builders import service


def web(host: str | None = None) -> Service:
    endpoint = Endpoint(name="http", protocol="http", port=80, target_port=80, public=True, host=host)
    return service(endpoints=(endpoint,))


def test_each_clash_names_both() -> None:
    found = clashes({"shop": {"web": web()}, "blog": {"front": web(), "admin": web("admin.test")}})
    assert [str(one) for one in found] == [
        "shop/web, endpoint 'http': port 80/tcp for any host is taken: endpoint 'http' of blog/front has it"
    ]


def test_of_one_deployment_only_its_own_are_told_and_it_comes_last() -> None:
    wanted = {"a": {"x": web()}, "b": {"x": web()}, "c": {"x": web()}}
    assert [one.claim.deployment for one in clashes(wanted)] == ["b", "c"]
    assert [(one.claim.deployment, one.rival.deployment) for one in clashes(wanted, "a")] == [("a", "b")]
    assert clashes({"a": {"x": web()}}, "a") == []
    assert clashes({}) == []


def test_a_thousand_routes_are_looked_at_once() -> None:
    many = {f"d{n}": {"web": web(f"h{n}.test")} for n in range(1000)}
    assert clashes(many) == []
    assert clashes(many | {"new": {"web": web("h500.test")}}, "new") != []
