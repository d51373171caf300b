"""What an `up` touches: exactly the replicas whose spec changed, start-first, and nothing at all without a change."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import web_image
from zlayer.testing.registry import Registry
from zlayer.testing.site import Site, deployment, service

pytestmark = pytest.mark.root
Json = dict[str, Any]  # Any: JSON documents
Facts = dict[tuple[str, int], tuple[str, int, str]]
"""Of every running replica: its id, pid and when it started."""


@dataclass
class Shop:
    """Three services, four replicas, up and ready."""

    site: Site
    image: str
    document: Json = field(init=False)

    def __post_init__(self) -> None:
        self.document = deployment("shop", web=self.service(2), api=self.service(), cache=self.service())
        self.up()

    def service(self, replicas: int = 1, **more: Any) -> Json:
        endpoints = [{"name": "http", "protocol": "http", "port": 80}]
        return service(self.image, replicas, endpoints=endpoints, stop_signal="SIGKILL", **more)

    def up(self, *options: str) -> str:
        return self.site.cli("up", "-d", *options, self.site.write(self.document)).stderr

    def plan(self) -> Json:
        """As `--plan` shows it; `revision` is what it was made on."""
        shown = self.site.cli("up", "--plan", "--format", "json", self.site.write(self.document)).stdout
        return dict(json.loads(shown))

    def facts(self) -> Facts:
        return {(i["service"], i["replica"]): (i["id"], i["pid"], i["started_at"]) for i in self.site.running()}

    def events(self) -> list[str]:
        lines = self.site.cli("events", "--format", "json").stdout.splitlines()
        return [line for line in lines if json.loads(line)["deployment"] == "shop"]


@pytest.fixture
def shop(site: Site, web: str) -> Shop:
    return Shop(site, web)


def changed(before: Facts, after: Facts) -> set[tuple[str, int]]:
    return {replica for replica in before.keys() | after.keys() if before.get(replica) != after.get(replica)}


def page(one: Json) -> bytes:
    with urlopen(f"http://{one['ip']}/", timeout=10) as answer:
        return bytes(answer.read())


CHANGES: dict[str, Callable[[Json], object]] = {
    "env": lambda spec: spec.update(env={"COLOUR": "blue"}),
    "command": lambda spec: spec.update(command={"args": ["httpd", "-f", "-p", "80", "-h", "/var"]}),
    "resources": lambda spec: spec.update(resources={"memory": "64Mi", "cpu": 0.5}),
    "hostname": lambda spec: spec.update(hostname="other"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_exactly_what_changed_is_replaced(shop: Shop, what: str) -> None:
    before = shop.facts()
    CHANGES[what](shop.document["services"]["web"])
    planned = shop.plan()
    assert {(c["service"], c["action"]) for c in planned["changes"]} == {
        ("web", "replace"), ("api", "keep"), ("cache", "keep"),
    }  # fmt: skip
    assert all(what in c["reason"] or what == "command" for c in planned["changes"] if c["action"] == "replace")
    assert shop.facts() == before, "a plan changes nothing"
    assert shop.plan()["revision"] == planned["revision"]
    told = shop.up()
    after = shop.facts()
    assert changed(before, after) == {("web", 1), ("web", 2)}
    assert all(after["web", n][0] != before["web", n][0] for n in (1, 2)), "a replaced replica is a new instance"
    assert shop.plan()["revision"] == planned["revision"] + 1
    assert "2 replaced" in told


def test_another_image_replaces_and_serves(shop: Shop, registries: Any) -> None:  # Any: see conftest
    plain: Registry = registries.plain
    before = shop.facts()
    shop.document["services"]["api"]["image"]["name"] = push(plain.target, "web", "blue", web_image(b"blue\n"))
    shop.up()
    assert changed(before, shop.facts()) == {("api", 1)}
    assert [page(one) for one in shop.site.running("api")] == [b"blue\n"]


def test_no_change_touches_nothing(shop: Shop) -> None:
    shop.site.until(lambda: any("deployment.good" in line for line in shop.events()), "its trial is over")
    before, events, revision = shop.facts(), shop.events(), shop.plan()["revision"]
    assert len(events) > 4
    told = shop.up()
    assert "nothing to do" in told
    assert "4 unchanged" in told
    assert (shop.facts(), shop.events(), shop.plan()["revision"]) == (before, events, revision)


def test_another_way_to_write_the_same_touches_nothing(shop: Shop) -> None:
    before, revision = shop.facts(), shop.plan()["revision"]
    services = {name: shop.document["services"][name] for name in ("cache", "web", "api")}
    services["web"] = {**services["web"], "stop_grace_period": "1000ms", "network_mode": "bridge"}
    path = shop.site.root / "app.zlayer.yml"
    path.write_text("# the same\n" + yaml.safe_dump({**shop.document, "services": services}))
    shop.site.cli("up", "-d", str(path))
    assert (shop.facts(), shop.plan()["revision"]) == (before, revision)


@pytest.mark.parametrize("option", ["--plan", "--dry-run"])
def test_a_plan_of_something_new_leaves_no_trace(site: Site, web: str, option: str) -> None:
    path = site.write(deployment("ghost", web=service(web, 2)))
    shown = site.cli("up", option, path)
    assert shown.stdout.startswith("ghost: 2 new\n")
    assert site.cli("ps", "-q").stdout == ""
    assert site.instances() == []
    assert not [line for line in site.cli("events").stdout.splitlines() if "ghost" in line]


def test_a_service_more_and_a_service_less(shop: Shop) -> None:
    before = shop.facts()
    shop.document["services"]["extra"] = shop.document["services"].pop("cache")
    shop.up()
    after = shop.facts()
    assert changed(before, after) == {("cache", 1), ("extra", 1)}
    assert ("cache", 1) not in after


def test_scale_keeps_the_rest(shop: Shop) -> None:
    before = shop.facts()
    shop.site.cli("scale", "web", "4", "--wait")
    grown = shop.facts()
    assert changed(before, grown) == {("web", 3), ("web", 4)}
    shop.site.cli("scale", "web=1", "api=2", "--wait")
    shrunk = shop.facts()
    assert changed(grown, shrunk) == {("web", 2), ("web", 3), ("web", 4), ("api", 2)}
    assert len(shop.site.instances()) == 4, "--wait returns when the surplus is gone"
    assert shop.site.cli("scale", "web", "-1", check=False).returncode == 2
    assert shop.site.cli("scale", "nothing", "1", check=False).returncode == 1
    shop.site.cli("scale", "web", "0", "--wait")
    assert {s for s, _ in shop.facts()} == {"api", "cache"}


def test_a_change_that_cannot_work_leaves_the_old_one_serving(shop: Shop) -> None:
    before = shop.facts()
    good = copy.deepcopy(shop.document)
    shop.document["services"]["api"]["image"]["name"] += "-not-there"
    path = shop.site.write(shop.document)
    done = shop.site.cli("up", "-d", "--timeout", "20", path, check=False)
    assert done.returncode != 0
    assert "not-there" in done.stderr
    assert not changed(before, {k: v for k, v in shop.facts().items() if v in before.values()})
    shop.document = good
    shop.up()
    assert shop.facts() == before, "back to what still runs"


@pytest.mark.parametrize(("policy", "moves"), [("always", True), ("newer", True), ("if_not_present", False)])
def test_a_tag_that_moved(site: Site, registries: Any, policy: str, moves: bool) -> None:  # Any: see conftest
    plain: Registry = registries.plain
    name = f"moving-{policy}"
    shop = Shop(site, push(plain.target, name, "1", web_image(b"old\n")))
    before = shop.facts()
    for spec in shop.document["services"].values():
        spec["image"]["pull_policy"] = policy
    shop.up()
    assert shop.facts() == before, "the registry serves what runs"
    push(plain.target, name, "1", web_image(b"new\n"))
    shop.up()
    after = shop.facts()
    assert changed(before, after) == (set(before) if moves else set())
    assert {page(one) for one in site.running()} == {b"new\n" if moves else b"old\n"}


def test_a_pull_on_demand(site: Site, registries: Any) -> None:  # Any: see conftest
    plain: Registry = registries.plain
    shop = Shop(site, push(plain.target, "on-demand", "1", web_image(b"old\n")))
    before, revision = shop.facts(), shop.plan()["revision"]
    shop.up("--pull")
    assert (shop.facts(), shop.plan()["revision"]) == (before, revision)
    push(plain.target, "on-demand", "1", web_image(b"new\n"))
    shop.up()
    assert shop.facts() == before
    shop.up("--pull")
    pulled = shop.facts()
    assert changed(before, pulled) == set(before)
    shop.up()
    assert shop.facts() == pulled, "what was pulled stays"
    assert {page(one) for one in site.running()} == {b"new\n"}
