from __future__ import annotations

from zlayer.client import results
from zlayer.testing import api_samples


def test_a_deployment_carries_its_services() -> None:
    read = results.Deployment.of(api_samples.deployment("shop", "running", api_samples.service("web")))
    assert read.deployment == "shop"
    assert [s.name for s in read.services] == ["web"]


def test_a_service_is_stable_when_all_it_wants_is_ready_and_nothing_else_lives() -> None:
    of = results.ServiceSummary.of
    assert of(api_samples.service()).stable
    assert not of(api_samples.service(ready=1)).stable
    assert not of(api_samples.service(running=3)).stable
    assert not of(api_samples.service(settled=False)).stable


def test_a_plan_that_keeps_everything_is_empty() -> None:
    assert results.Plan.of(api_samples.plan("keep", "keep")).empty
    assert not results.Plan.of(api_samples.plan("keep", "replace")).empty
    assert results.Plan.of(api_samples.plan()).empty


def test_a_container_has_the_promised_fields_in_order() -> None:
    assert list(results.Container.of(api_samples.container()).document()) == [
        "deployment", "service", "replica", "id", "node", "state", "health", "image", "ip", "ports", "pid",
        "restarts", "created_at", "started_at", "exit_code", "reason",
    ]  # fmt: skip
