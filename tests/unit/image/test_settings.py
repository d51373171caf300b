from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.image.settings import RegistryHost, RegistrySettings, host_of, is_loopback
from zlayer.model.errors import Invalid


def test_from_config_reads_the_documented_keys() -> None:
    settings = RegistrySettings.from_config(
        {
            "default_registry": "registry.lan",
            "registries": {"registry.lan:5000": {"insecure": True, "username": "u", "password_file": "/p"}},
            "pull": {"downloads": 5, "stall_timeout": 7},
            "network": {"subnet": "10.0.0.0/8"},
        }
    )
    assert settings.default_registry == "registry.lan"
    assert settings.host("registry.lan:5000") == RegistryHost(insecure=True, username="u", password_file="/p")
    assert settings.host("another") == RegistryHost()
    assert (settings.downloads, settings.stall_timeout) == (5, 7)


@pytest.mark.parametrize(
    ("config", "path", "suggestion"),
    [
        ({"registries": {"r": {"insecur": True}}}, 'registries."r".insecur', "insecure"),
        ({"registries": {"r": {"insecure": "yes"}}}, 'registries."r".insecure', ""),
        ({"registries": {"r": {"username": 5}}}, 'registries."r".username', ""),
        ({"registries": {"r": 5}}, 'registries."r"', ""),
        ({"pull": {"download": 5}}, "pull.download", "downloads"),
        ({"pull": {"downloads": 0}}, "pull.downloads", ""),
        ({"pull": {"attempts": True}}, "pull.attempts", ""),
        ({"pull": {"stall_timeout": "1s"}}, "pull.stall_timeout", ""),
        ({"default_registry": ""}, "default_registry", ""),
    ],
)
def test_faults_are_named(config: dict[str, Any], path: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        RegistrySettings.from_config(config, file="config.toml")
    (problem,) = caught.value.problems
    assert (problem.path, problem.suggestion, problem.file) == (path, suggestion, "config.toml")


def test_all_faults_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        RegistrySettings.from_config({"pull": {"a": 1, "b": 2}})
    assert len(caught.value.problems) == 2


def test_a_document_survives_the_pipe() -> None:
    settings = RegistrySettings(hosts={"h:1": RegistryHost(insecure=False, ca="/ca", password="p")}, attempts=9)
    assert RegistrySettings.of_document(json.loads(json.dumps(settings.document()))) == settings


def test_passwords_do_not_show() -> None:
    assert "hush" not in repr(RegistrySettings(hosts={"h": RegistryHost(username="u", password="hush")}))


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.8.9.1", True),
        ("[::1]:5000", True), ("10.0.0.1", False), ("localhost.example.com", False), ("example.com:5000", False),
    ],
)  # fmt: skip
def test_loopback(domain: str, expected: bool) -> None:
    assert is_loopback(domain) is expected


def test_host_of() -> None:
    assert [host_of(d) for d in ("[::1]:5000", "a.b:1", "a.b")] == ["::1", "a.b", "a.b"]
