from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.instance import Deployment, Instance, Service, State
from zlayer.model.routes import Certificate, Listener, Route, RouteTable
from zlayer.plan.routes import Admission, Certificates, pieces, specificity, table
from zlayer.plan.seen import Seen
from zlayer.testing.builders import deployment, seen, service

HOME = ("10.64.0.1",)


def endpoint(port: int = 80, protocol: str = "http", **fields: Any) -> Endpoint:
    fields = {"name": f"{protocol}-{port}", "target_port": port + 8000, **fields}
    return Endpoint.model_validate({"protocol": protocol, "port": port, **fields})


def web(*endpoints: Endpoint, **fields: Any) -> Service:
    return service(endpoints=endpoints, **fields)


def replica(wanted: Deployment, slot: int = 1, state: State = State.READY, name: str = "web", **told: Any) -> Seen:
    spec = wanted.services[name].container
    number = told.pop("address", f"10.64.0.{slot + 1}")
    instance = Instance(
        id=f"{wanted.name}-{name}-{slot}", deployment=wanted.name, service=name, slot=slot, revision=1, node="n1",
        spec=spec, digest=spec.digest(), desired=told.pop("desired", "running"),
    )  # fmt: skip
    return seen(instance, state, address=number, **told)


def made(wanted: Deployment, *replicas: Seen, **more: Any) -> RouteTable:
    found, clashes = table([pieces(wanted, replicas, HOME, **more)])
    assert clashes == ()
    return found


def servers(found: RouteTable) -> list[str]:
    return [server.id for backend in found.backends for server in backend.servers]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("health", ["none", "healthy", "unhealthy"])
@pytest.mark.parametrize("desired", ["running", "stopped", "removed"])
def test_only_who_is_ready_and_wanted_gets_traffic(state: State, health: str, desired: str) -> None:
    wanted = deployment(web=web(endpoint()))
    found = made(wanted, replica(wanted, state=state, health=health, desired=desired))
    assert bool(servers(found)) == (state is State.READY and health != "unhealthy" and desired == "running")
    assert len(found.backends) == 1, "the route stays: no replica is no missing page"


def test_a_held_candidate_waits_and_weights_are_passed_on() -> None:
    wanted = deployment(web=web(endpoint()))
    both = replica(wanted, 1), replica(wanted, 2)
    found = made(wanted, *both, admission=Admission(frozenset({both[0].id}), {both[1].id: 7}))
    assert [(s.id, s.weight) for s in found.backends[0].servers] == [(both[1].id, 7)]


def test_public_is_everywhere_internal_is_at_home() -> None:
    wanted = deployment(web=web(endpoint(80, public=True), endpoint(81)))
    found = made(wanted, replica(wanted))
    assert {(one.addresses, one.port) for one in found.listeners} == {(("*",), 80), (HOME, 81)}


def test_the_servers_port_is_the_containers() -> None:
    wanted = deployment(web=web(endpoint(80)))
    [backend] = made(wanted, replica(wanted)).backends
    assert (backend.servers[0].address, backend.servers[0].port) == ("10.64.0.2", 8080)


def test_on_the_hosts_network_the_node_itself_answers() -> None:
    wanted = deployment(web=web(endpoint(), network_mode="host"))
    [backend] = made(wanted, replica(wanted, address=None)).backends
    assert backend.servers[0].address == "127.0.0.1"
    nowhere = deployment(web=web(endpoint(), network_mode="none"))
    assert servers(made(nowhere, replica(nowhere, address=None))) == []


def test_udp_is_the_kernels() -> None:
    wanted = deployment(web=web(endpoint(53, "udp")))
    assert made(wanted, replica(wanted)).listeners == ()


def test_two_deployments_share_a_public_port_by_host_and_path() -> None:
    one = deployment("one", web=web(endpoint(80, public=True, host="a.test")))
    two = deployment("two", web=web(endpoint(80, public=True, host="*.test", path="/x")))
    found, clashes = table([pieces(one, []), pieces(two, [])])
    assert clashes == ()
    [listener] = found.listeners
    assert [route.host for route in listener.routes] == ["a.test", "*.test"]


def test_what_clashes_is_told_and_the_first_by_name_stays() -> None:
    one = deployment("one", web=web(endpoint(80, public=True)))
    two = deployment("two", web=web(endpoint(80, "tcp", public=True)))
    three = deployment("zoo", web=web(endpoint(80, public=True)))
    found, clashes = table([pieces(d, []) for d in (two, three, one)])
    assert [b.name for b in found.backends] == ["one/web/http-80"]
    assert len(clashes) == 2
    assert "two/web/tcp-80 is tcp" in clashes[0][1]
    assert "any host/" in clashes[1][1]


def test_many_services_of_a_deployment_have_one_port_inside() -> None:
    """Each is reached by its name; the gateway tells http ones apart by it, and leaves the rest to the names."""
    wanted = deployment(
        api=web(endpoint(80)), web=web(endpoint(80)), db=web(endpoint(5432, "tcp")), old=web(endpoint(5432, "tcp"))
    )
    found = made(wanted)
    http = next(one for one in found.listeners if one.port == 80)
    assert [(route.host, route.backend) for route in http.routes] == [
        ("web.service.local", "shop/web/http-80"),
        (None, "shop/api/http-80"),
    ]
    tcp = next(one for one in found.listeners if one.port == 5432)
    assert [route.backend for route in tcp.routes] == ["shop/db/tcp-5432"]


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"protocol": "websocket"}, "http"), ({"protocol": "https"}, "https"), ({"protocol": "tcp"}, "tcp"),
        ({"protocol": "https", "tls": Tls(mode="passthrough")}, "passthrough"),
    ],
)  # fmt: skip
def test_modes(fields: dict[str, Any], mode: str) -> None:
    wanted = deployment(web=web(endpoint(443, **fields)))
    [listener] = made(wanted).listeners
    assert listener.mode == mode


def test_an_https_listener_shows_the_certificates_of_its_endpoints() -> None:
    wanted = deployment(web=web(endpoint(443, "https", host="a.test"), endpoint(444, "https", name="b", host="b.test")))
    pems = {name: Certificate(name, "chain", "key") for name in ("a.test", "b.test", "unused")}
    chosen = {"shop/web/https-443": "a.test", "shop/web/b": "b.test"}
    found, _ = table([pieces(wanted, [], HOME)], Certificates(pems, chosen))
    assert {one.port: one.certificates for one in found.listeners} == {443: ("a.test",), 444: ("b.test",)}
    assert set(found.certificates) == {"a.test", "b.test"}


def test_names_are_proved_on_a_port_of_their_own() -> None:
    found, _ = table([], Certificates(challenges={"token": "answer"}, acme_port=80))
    assert found.listeners == (Listener("public-80", ("*",), 80, "http"),)
    assert found.challenges == {"token": "answer"}


def test_names_are_proved_where_tls_comes_in() -> None:
    proofs = {"a.test": Certificate("_acme:a.test", "chain", "key")}
    made = Certificates(proofs=proofs, tls_port=443)
    found, _ = table([], made)
    assert found.listeners == (Listener("public-443", ("*",), 443, "https", proves=True),)
    assert (found.proofs, set(found.certificates)) == ({"a.test": "_acme:a.test"}, {"_acme:a.test"})
    secure = deployment(web=web(endpoint(443, "https", host="a.test", public=True)))
    [listener] = table([pieces(secure, [], HOME)], made)[0].listeners
    assert (listener.proves, len(listener.routes)) == (True, 1)
    plain = deployment(web=web(endpoint(443, "tcp", public=True)))
    found, [(owner, why)] = table([pieces(plain, [], HOME)], made)
    assert (owner, found.proofs, found.listeners[0].proves) == ("shop/web", {}, False)
    assert "cannot be proved by tls-alpn-01" in why


@given(st.permutations(["a.test", "*.a.test", "*.test", None]), st.permutations(["/", "/a", "/a/b"]), st.randoms())
def test_most_specific_host_first_then_longest_path(
    hosts: list[str | None], paths: list[str], shuffle: random.Random
) -> None:
    routes = [Route("b", host, path) for host in hosts for path in paths]
    shuffle.shuffle(routes)
    ordered = sorted(routes, key=specificity)
    assert [r.host for r in ordered] == [h for h in ("a.test", "*.a.test", "*.test", None) for _ in paths]
    assert [r.path for r in ordered] == ["/a/b", "/a", "/"] * 4


@given(st.lists(st.integers(1, 5), unique=True, max_size=5), st.randoms())
def test_the_order_of_arrival_changes_nothing(slots: list[int], shuffle: random.Random) -> None:
    wanted = deployment(web=web(endpoint(80), endpoint(81)))
    replicas = [replica(wanted, slot) for slot in slots]
    first = made(wanted, *replicas)
    shuffle.shuffle(replicas)
    assert made(wanted, *replicas) == first
