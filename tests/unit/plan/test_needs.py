from __future__ import annotations

from typing import Any

import pytest

from zlayer.model import keys
from zlayer.model.certificate import Order, Proof, StoredCertificate
from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.errors import Corrupt
from zlayer.model.instance import Deployment
from zlayer.model.secret import Secret
from zlayer.model.units import Timestamp
from zlayer.plan.needs import ANY, Policy, certificate_name, is_local, needs, table_certificates
from zlayer.testing.builders import deployment, service

FULL = Policy(directory="https://ca.test/dir", wildcards=True, authority="ca1", own_names=("node1",))


def endpoint(host: str | None, mode: Any = "auto", protocol: Any = "https", name: str = "web", **tls: str) -> Endpoint:
    return Endpoint(
        name=name, protocol=protocol, port=443, target_port=80, host=host, tls=Tls(mode=mode, **tls) if mode else None
    )


def having(*endpoints: Endpoint, name: str = "shop") -> Deployment:
    return deployment(name, web=service(endpoints=endpoints))


LOCAL = [
    "web",
    "localhost",
    "a.local",
    "x.y.test",
    "a.internal",
    "b.LOCALHOST",
    "*.test",
    "10.0.0.1",
    "[::1]",
    "::1",
    "a.test.",
]


@pytest.mark.parametrize("host", LOCAL)
def test_local_names(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["example.org", "*.example.org", "local.example.org", "testing.dev", "a.notlocal"])
def test_names_of_the_world(host: str) -> None:
    assert not is_local(host)


@pytest.mark.parametrize(
    ("host", "mode", "policy", "source", "says"),
    [
        ("a.example.org", "auto", FULL, "acme", ""),
        ("a.example.org", "auto", Policy(), "self_signed", "[acme]"),
        ("*.example.org", "auto", Policy("https://ca.test"), "self_signed", "dns_hook"),
        ("*.example.org", "auto", FULL, "acme", ""),
        ("a.test", "auto", FULL, "self_signed", ""),
        (None, "auto", FULL, "self_signed", ""),
        ("a.example.org", "self_signed", FULL, "self_signed", ""),
        ("a.test", "acme", FULL, "acme", ""),
    ],
)
def test_where_a_certificate_comes_from(host: str | None, mode: str, policy: Policy, source: str, says: str) -> None:
    [need] = needs([having(endpoint(host, mode))], policy)
    assert (need.source, need.problem, need.users) == (source, "", ("shop/web/web",))
    assert says in need.note
    assert bool(says) == bool(need.note)


@pytest.mark.parametrize(
    ("host", "policy", "says"),
    [
        (None, FULL, "host"),
        ("10.0.0.1", FULL, "address"),
        ("a.org", Policy(), "[acme]"),
        ("*.a.org", Policy("https://ca.test"), "dns-01"),
    ],
)
def test_acme_that_cannot_be_is_a_problem(host: str | None, policy: Policy, says: str) -> None:
    [need] = needs([having(endpoint(host, "acme"))], policy)
    assert says in need.problem


def test_who_needs_none() -> None:
    others = (endpoint("a.org", "passthrough"), endpoint("b.org", None, "http"), endpoint(None, None, "tcp"))
    assert needs([having(*others)], FULL) == ()
    gone = having(endpoint("a.org")).model_copy(update={"desired": "removed"})
    assert needs([gone], FULL) == ()


def test_endpoints_of_one_host_share_a_certificate_and_files_stand_alone() -> None:
    files = endpoint("a.org", "files", name="own", certificate="/a.pem", key="/a.key")
    found = needs(
        [having(endpoint("a.org", "self_signed"), files), having(endpoint("a.org", "acme"), name="other")], FULL
    )
    assert [(need.name, need.source, need.users) for need in found] == [
        ("a.org", "acme", ("other/web/web", "shop/web/web")),
        (certificate_name(files), "files", ("shop/web/own",)),
    ]
    assert certificate_name(files) != certificate_name(endpoint("a.org", "files", certificate="/b.pem", key="/a.key"))


def test_one_that_cannot_be_does_not_take_away_one_that_can() -> None:
    [need] = needs([having(endpoint("a.org", "acme"), endpoint("a.org", "self_signed", name="b"))], Policy())
    assert (need.source, need.problem) == ("self_signed", "")
    assert "[acme]" in need.note


def test_files_without_paths_are_a_problem() -> None:
    [need] = needs([having(endpoint("a.org", "files"))], FULL)
    assert "certificate" in need.problem


def stored(name: str, **fields: Any) -> StoredCertificate:
    return StoredCertificate(name=name, source="self_signed", **{"chain": "CHAIN", "key": f"sealed {name}", **fields})


def unseal(sealed: str, bound_to: str) -> Secret:
    if "broken" in sealed:
        raise Corrupt("damaged")
    assert bound_to in {keys.certificate(sealed.removeprefix("sealed ")), keys.order(sealed.removeprefix("sealed "))}
    return Secret(f"key of {bound_to}")


def test_the_table_gets_what_endpoints_are_served_with() -> None:
    deployments = [having(endpoint("a.test"), endpoint("b.test", name="b"), endpoint(None, name="c"))]
    documents = {"a.test": stored("a.test"), "b.test": stored("b.test", chain=""), "z.test": stored("z.test")}
    made, faults = table_certificates(deployments, documents, {}, unseal)
    assert (faults, dict(made.chosen), made.acme_port) == ((), {"shop/web/web": "a.test"}, None)
    assert set(made.pems) == {"a.test"}
    assert made.pems["a.test"].key == "key of /certificates/a.test"
    assert ANY not in made.pems


def test_until_its_certificate_is_there_an_endpoint_keeps_the_one_it_had() -> None:
    files = endpoint("a.test", "files", certificate="/a.pem", key="/a.key")
    user = {"users": ("shop/web/web",), "names": ("a.test",)}
    old, older = stored("a.test", issued_at=5, **user), stored("a.test~old", issued_at=4, **user)
    wrong = stored("b.test", issued_at=9, users=user["users"], names=("b.test",))
    strange = stored("z", issued_at=9, users=("other/web/web",), names=("a.test",))
    documents = {one.name: one for one in (old, older, wrong, strange)}

    def chosen() -> dict[str, str]:
        return dict(table_certificates([having(files)], documents, {}, unseal)[0].chosen)

    assert chosen() == {"shop/web/web": "a.test"}
    documents[certificate_name(files)] = stored(certificate_name(files), chain="")
    assert chosen() == {"shop/web/web": "a.test"}
    documents[certificate_name(files)] = stored(certificate_name(files))
    assert chosen() == {"shop/web/web": certificate_name(files)}


def test_a_key_that_does_not_open_is_left_out_and_told() -> None:
    deployments = [having(endpoint("a.test"), endpoint("b.test", name="b"))]
    documents = {"a.test": stored("a.test", key="broken"), "b.test": stored("b.test")}
    made, faults = table_certificates(deployments, documents, {}, unseal)
    assert set(made.pems) == {"b.test"}
    assert faults == ("a.test: damaged",)


def test_challenges_of_orders_in_flight_are_answered_on_the_acme_port() -> None:
    order = Order(
        name="a", names=("a",), directory="d", url="u", key="k", started_at=Timestamp(0), challenges={"t": "t.thumb"}
    )
    made, _ = table_certificates([], {}, {"a": order}, unseal, acme_port=8080)
    assert (dict(made.challenges), made.acme_port) == ({"t": "t.thumb"}, 8080)


def test_proofs_of_orders_in_flight_are_shown_on_the_tls_port_and_leave_the_other_closed() -> None:
    proof = Proof(answer="t.thumb", chain="chain", key="sealed a")
    order = Order(
        name="a", names=("a",), directory="d", url="u", key="k", started_at=Timestamp(0), proofs={"a.test": proof}
    )
    made, faults = table_certificates([], {}, {"a": order}, unseal, tls_port=443)
    assert (made.acme_port, made.tls_port, faults) == (None, 443, ())
    assert {host: (one.name, one.chain) for host, one in made.proofs.items()} == {"a.test": ("_acme:a.test", "chain")}
    documents = {"a.test": stored("a.test").model_copy(update={"source": "acme"})}
    made, _ = table_certificates([having(endpoint("a.test"))], documents, {}, unseal, tls_port=443)
    assert (made.acme_port, made.tls_port) == (None, 443)
    assert table_certificates([], {}, {}, unseal, tls_port=443)[0].tls_port is None
    broken = order.model_copy(update={"proofs": {"a.test": proof.model_copy(update={"key": "broken"})}})
    assert table_certificates([], {}, {"a": broken}, unseal, tls_port=443)[1] == ("a.test: damaged",)


def test_the_acme_port_stays_open_for_the_next_renewal() -> None:
    """Opening and closing it would be two reloads of the proxy each time."""
    deployments = [having(endpoint("a.test"), endpoint("*.b.test", name="b"))]
    for name, port in (("a.test", 8080), ("*.b.test", None), ("z.test", None)):
        documents = {name: stored(name).model_copy(update={"source": "acme"})}
        made, _ = table_certificates(deployments, documents, {}, unseal, acme_port=8080)
        assert made.acme_port == port, name
