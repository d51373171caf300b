from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.health import Target, target_of
from zlayer.spec.load import load
from zlayer.spec.model import CommandCheckSpec, HealthSpec, HttpCheckSpec, TcpCheckSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def health(text: str) -> HealthSpec:
    made = load(f"{HEAD}    health: {text}").services["web"].health
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("url", "target"),
    [("http://localhost", Target(80, "/")), ("http://localhost:8080/a", Target(8080, "/a")),
     ("http://127.0.0.5/a/?b=c", Target(80, "/a/?b=c")), ("http://[::1]:9/x", Target(9, "/x")),
     ("http://container:1/", Target(1, "/")), ("HTTP://LOCALHOST/", Target(80, "/"))],
)  # fmt: skip
def test_urls_on_the_container(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    ("url", "kind"),
    [("", "InvalidUrl"), ("/health", "InvalidUrl"), ("ftp://localhost/", "InvalidUrl"), ("http://", "InvalidUrl"),
     ("http://localhost:99999/", "InvalidUrl"), ("http://localhost:0/", "InvalidUrl"), ("http://[::1/", "InvalidUrl"),
     ("http://localhost/a b", "InvalidUrl"), ("http://u@localhost/", "InvalidUrl"),
     ("http://localhost/é", "InvalidUrl"),
     ("http://localhost/#x", "InvalidUrl"), ("https://localhost/", "Unsupported"), ("http://db/", "Unsupported")],
)  # fmt: skip
def test_other_urls(url: str, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        target_of(url)
    assert caught.value.problems[0].kind == kind


def test_the_guide_form_becomes_the_reference_form() -> None:
    guide = health("{check: {type: http, path: /ok, port: 80, interval: 3s}}")
    assert guide == health('{interval: 3s, check: {type: http, url: "http://localhost:80/ok", expect_status: 200}}')
    assert guide.check == HttpCheckSpec(url="http://localhost:80/ok")


def test_one_interval_in_both_places_is_fine() -> None:
    assert float(health("{interval: 60s, check: {type: tcp, port: 1, interval: 1m}}").interval) == 60


def test_a_bad_interval_inside_a_check_is_told_once() -> None:
    with pytest.raises(Invalid) as caught:
        health("{check: {type: tcp, port: 1, interval: soon}}")
    assert [p.path for p in caught.value.problems] == ["services.web.health.check.interval"]


def test_defaults() -> None:
    made = health("{check: {type: command, command: 'true'}}")
    assert made == HealthSpec(check=CommandCheckSpec(command="true"))
    assert [float(made.start_grace), float(made.interval), float(made.timeout), made.retries] == [5, 10, 5, 3]


def test_a_check_left_out_asks_the_first_endpoint() -> None:
    text = f"{HEAD}    endpoints: [{{name: a, protocol: tcp, port: 7}}]\n    health: {{retries: 2}}"
    made = load(text).services["web"].health
    assert made == HealthSpec(retries=2, check=TcpCheckSpec(port=0))
