from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from zlayer.cli import link
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.testing.api_samples import container, deployment, service
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


@pytest.fixture
def api(daemon: ScriptedDaemon) -> Client:
    return Client(Address(path=str(daemon.data_dir / "zlayer.sock")))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(daemon: ScriptedDaemon, **named: tuple[str, ...]) -> None:
    docs = [deployment(name, "running", *map(service, services)) for name, services in named.items()]
    daemon.routes["GET /api/v1/deployments"] = Answer(docs)


def test_a_service_that_one_deployment_has(daemon: ScriptedDaemon, api: Client) -> None:
    listed(daemon, shop=("web", "db"), blog=("site",))
    assert link.deployment_of(api, "db", None) == ("shop", "db")
    assert link.deployment_of(api, "shop/db", None) == ("shop", "db")
    assert link.deployment_of(api, "site", "blog") == ("blog", "site")


def test_a_service_that_several_have_is_asked_for(daemon: ScriptedDaemon, api: Client) -> None:
    listed(daemon, shop=("web",), blog=("web",))
    with pytest.raises(errors.Invalid, match="blog, shop") as caught:
        link.deployment_of(api, "web", None)
    assert caught.value.hint == "say which: --deployment blog"


def test_the_spec_here_decides_between_several(daemon: ScriptedDaemon, api: Client, elsewhere: Path) -> None:
    listed(daemon, shop=("web",), blog=("web",))
    (elsewhere / "zlayer.yml").write_text('version: v1\ndeployment: "shop" # mine\n')
    assert link.deployment_of(api, "web", None) == ("shop", "web")
    assert link.deployment_named(api, None) == "shop"


def test_what_is_not_there_is_explained_with_the_nearest(daemon: ScriptedDaemon, api: Client) -> None:
    listed(daemon, shop=("web",))
    with pytest.raises(errors.NotFound) as service_gone:
        link.deployment_of(api, "wep", None)
    assert service_gone.value.hint == "did you mean 'web'?"
    with pytest.raises(errors.NotFound) as deployment_gone:
        link.deployment_of(api, "web", "shob")
    assert deployment_gone.value.hint == "did you mean 'shop'?"
    with pytest.raises(errors.NotFound, match="in deployment 'shop'"):
        link.deployment_of(api, "zzz", "shop")


def test_the_only_deployment_needs_no_name(daemon: ScriptedDaemon, api: Client) -> None:
    listed(daemon, shop=("web",))
    assert link.deployment_named(api, None) == "shop"
    assert link.deployment_named(api, "other") == "other"
    listed(daemon, shop=("web",), blog=("web",))
    with pytest.raises(errors.Invalid, match="blog, shop"):
        link.deployment_named(api, None)
    listed(daemon)
    with pytest.raises(errors.NotFound, match="no deployment"):
        link.deployment_named(api, None)


def test_a_spec_here_that_is_not_deployed_means_no_other(daemon: ScriptedDaemon, api: Client, elsewhere: Path) -> None:
    listed(daemon, shop=("web",))
    (elsewhere / "zlayer.yml").write_text("deployment: blog\n")
    with pytest.raises(errors.NotFound, match="'blog'"):
        link.deployment_named(api, None)


def test_a_directory_without_one_spec_names_nothing(elsewhere: Path) -> None:
    assert link.spec_name() == ""
    (elsewhere / "a.zlayer.yml").write_text("deployment: a\n")
    (elsewhere / "b.zlayer.yml").write_text("deployment: b\n")
    assert link.spec_name() == ""


def test_a_daemon_elsewhere_is_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZLAYER_HOST", "http://127.0.0.1:9")
    args = argparse.Namespace(data_dir=None)
    assert link.client(args).address == Address(host="127.0.0.1", port=9)


def test_a_running_daemon_is_used_in_silence(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(data_dir=str(daemon.data_dir))
    assert link.client(args).address.path == str(daemon.data_dir / "zlayer.sock")
    assert daemon.requests == []
    assert capsys.readouterr().err == ""


def test_what_is_no_service_may_be_a_one_off(daemon: ScriptedDaemon, api: Client) -> None:
    listed(daemon, shop=("web",))
    old = container(deployment="_run", service="queue", id="run-queue-1-a", created_at="2026-01-01T00:00:00Z")
    new = old | {"id": "run-queue-1-b", "created_at": "2026-01-02T00:00:00Z"}
    daemon.routes["GET /api/v1/instances"] = Answer([new, old])
    assert link.container_of(api, "web", None) == ("shop", "web")
    assert link.container_of(api, "queue", None) == ("_run", "run-queue-1-b")
    assert link.container_of(api, "run-queue-1-a", None) == ("_run", "run-queue-1-a")
    with pytest.raises(errors.NotFound):
        link.container_of(api, "quue", None)
    with pytest.raises(errors.NotFound):
        link.container_of(api, "queue", "shop")
