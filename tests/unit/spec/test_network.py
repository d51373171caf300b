from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.plan.naming import instance_id
from zlayer.spec.load import load
from zlayer.spec.model import ServiceSpec
from zlayer.spec.network import INSTANCE, shares

HEAD = "version: v1\ndeployment: shop\nservices:\n  db: {image: {name: a}}\n  web:\n    image: {name: a}\n"


def service(text: str) -> ServiceSpec:
    return load(f"{HEAD}    {text}").services["web"]


@pytest.mark.parametrize(
    ("text", "mode"),
    [("tty: false", "bridge"), ("network_mode: default", "bridge"), ("network_mode: bridge", "bridge"),
     ("network_mode: host", "host"), ("host_network: true", "host"), ("network_mode: none", "none"),
     ("host_network: false", "bridge")],
)  # fmt: skip
def test_network_modes(text: str, mode: str) -> None:
    assert service(text).network_mode == mode


@pytest.mark.parametrize(
    "text", ["container:db", "{container: {id: db}}", "{container: db}", "!container db", "!container {id: db}"]
)
def test_every_form_of_a_shared_network_is_one(text: str) -> None:
    assert shares(service(f"network_mode: {text}").network_mode) == "db"


@pytest.mark.parametrize("text", ["bridge:n", "!bridge n", "{bridge: {name: n}}"])
def test_a_named_bridge_comes_later(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"network_mode: {text}")
    assert [p.kind for p in caught.value.problems] == ["Unsupported"]


@pytest.mark.parametrize(
    "text", ["5", "[host]", "{a: 1, b: 2}", "!hots x", "'container:'", "{container: [db]}", "true"]
)
def test_no_mode_at_all(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"network_mode: {text}")
    assert caught.value.problems[0].kind in {"WrongType", "InvalidValue", "InvalidName"}


def test_ids_of_instances_look_like_ids_of_instances() -> None:
    assert INSTANCE.fullmatch(instance_id("shop-prod", "my_web-2", 12, "seed"))
    assert not INSTANCE.fullmatch("database")


def test_reach() -> None:
    assert service("network: {reach: [blog, Store-2]}").network.reach == ("blog", "Store-2")
    assert service("network: {}").network.reach == ()
