from __future__ import annotations

import pytest

from zlayer.cli.render import listings
from zlayer.client.results import Container, Deployment
from zlayer.testing.api_samples import container, deployment, service

NOW = 1767225601.0 + 180  # three minutes after the sample started


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "running 3 minutes (healthy)"),
        ({"health": "none"}, "running 3 minutes"),
        ({"started_at": None}, "running (healthy)"),
        ({"state": "exited", "exit_code": 137, "reason": "out of memory"}, "exited (137): out of memory"),
        ({"state": "exited", "exit_code": None}, "exited (unknown)"),
        ({"state": "failed", "reason": "no such image"}, "failed: no such image"),
        ({"state": "pending", "health": "none"}, "pending"),
    ],
)
def test_status_in_words(changes: dict[str, object], text: str) -> None:
    assert listings.status(Container.of(container(**changes)), NOW) == text


def test_the_table_of_services() -> None:
    shop = deployment("shop", "running", service("web"), service("db", endpoints=[]))
    docs = [shop, deployment("empty", services=[])]
    assert listings.deployments(Deployment.all(docs), colour=False).splitlines() == [
        "DEPLOYMENT  SERVICE  STATUS   READY  IMAGE       ENDPOINTS",
        "shop        web      running  2/2    nginx:1.27  http=80/http",
        "shop        db       running  2/2    nginx:1.27  -",
        "empty       -        running  -      -           -",
    ]


def test_the_table_of_containers() -> None:
    assert listings.containers([Container.of(container())], NOW, colour=False).splitlines() == [
        "CONTAINER  DEPLOYMENT  STATUS                       IMAGE       IP         PORTS   RESTARTS  CREATED",
        "web-1      shop        running 3 minutes (healthy)  nginx:1.27  10.88.0.2  80/tcp  0         3 minutes ago",
    ]


def test_what_cannot_be_reached_is_told_beside_its_status() -> None:
    two = [service("web"), service("db")]
    trouble = [
        {"service": "web", "reason": "cannot listen on 0.0.0.0:80: in use by another program, whoever that may be"}
    ]
    rows = listings.deployments(Deployment.all([deployment("shop", "running", *two, trouble=trouble)]), colour=False)
    _, web, db = rows.splitlines()
    assert "running: cannot listen on 0.0.0.0:80: in use by another pro" in web
    assert "cannot" not in db
    everywhere = [{"service": "", "reason": "no names"}]
    shown = listings.deployments(Deployment.all([deployment("shop", trouble=everywhere)]), colour=True)
    assert "\x1b[33mrunning: no names\x1b[0m" in shown


def test_the_documents_have_the_promised_fields_and_no_others() -> None:
    (doc,) = listings.deployments_document(Deployment.all([deployment()]))
    assert list(doc) == ["deployment", "status", "services"]
    services = doc["services"]
    assert isinstance(services, list)
    assert list(services[0]) == ["name", "image", "desired", "running", "ready", "endpoints"]
    (row,) = listings.containers_document([Container.of(container())])
    assert row == container()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"name": "http", "protocol": "http", "port": 80}, "http=80/http"),
        ({"name": "a", "url": "https://x"}, "a=https://x"),
        ({"address": "10.0.0.1", "port": 53, "protocol": "udp"}, "10.0.0.1:53/udp"),
    ],
)
def test_endpoints(value: object, text: str) -> None:
    assert listings.endpoint(value) == text


def test_a_reason_stays_in_its_cell() -> None:
    assert listings.brief("failed: two\nlines\x1b[2J") == r"failed: two lines\x1b[2J"
