from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.compile import compile_deployment
from zlayer.spec.load import load
from zlayer.spec.sharing import replicas

HEAD = "version: v1\ndeployment: shop\nservices:\n"
DB = "  db: {image: {name: a}, scale: {mode: fixed, replicas: 2}, endpoints: [{name: sql, protocol: tcp, port: 5}]}\n"


def text(more: str = "", home: str = "db", head: str = DB) -> str:
    return f"{HEAD}{head}  side: {{image: {{name: b}}, network_mode: 'container:{home}'{more}}}\n"


def problems(source: str) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        load(source)
    return [(p.kind, p.path) for p in caught.value.problems]


def test_whose_network_it_shares_starts_first() -> None:
    spec = load(text())
    side = compile_deployment(spec, environ={}).services["side"]
    assert side.container.network_mode == "container:db"
    assert [(d.service, d.condition) for d in side.depends] == [("db", "started")]
    assert replicas(spec.services["db"]) == 2
    written = compile_deployment(load(text(", depends: [{service: db}]")), environ={}).services["side"]
    assert [(d.service, d.condition) for d in written.depends] == [("db", "healthy")]


def test_an_instance_may_be_of_another_deployment() -> None:
    assert load(text(home="blog-web-1-abcdefgh")).services["side"].network_mode == "container:blog-web-1-abcdefgh"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (text(home="dbb"), ("UnknownDependency", "services.side.network_mode")),
        (text(home="side"), ("DependencyCycle", "services.side.network_mode")),
        (text(", scale: {mode: fixed, replicas: 3}"), ("Conflict", "services.side.scale.replicas")),
        (text(", endpoints: [{name: a, protocol: tcp, port: 5}]"), ("PortClash", "services.side.endpoints")),
        (text(", port_mappings: [80]"), ("Conflict", "services.side.port_mappings")),
        (text(", network: {reach: [blog]}"), ("Conflict", "services.side.network")),
        (text(head="  db: {image: {name: a}, network_mode: host}\n"), ("Conflict", "services.side.network_mode")),
        (text(head=DB.replace("}]}", "}], depends: [{service: side}]}")), ("DependencyCycle", "services.db.depends")),
    ],
)
def test_what_cannot_be_shared(source: str, expected: tuple[str, str]) -> None:
    assert problems(source) == [expected]


def test_replicas_in_the_network_of_one_instance() -> None:
    more = ", scale: {mode: fixed, replicas: 2}, endpoints: [{name: a, protocol: tcp, port: 7}]"
    assert problems(text(more, home="blog-web-1-abcdefgh")) == [("PortClash", "services.side.scale.replicas")]


def test_a_service_with_faults_is_there_all_the_same() -> None:
    assert [kind for kind, _ in problems(text(home="db", head="  db: 5\n"))] == ["WrongType"]
