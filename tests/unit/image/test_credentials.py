from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from zlayer.image.credentials import Credential, find
from zlayer.image.settings import RegistryHost
from zlayer.model.errors import Denied, Invalid

NONE = RegistryHost()


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


class Home:
    """A home directory with container tools' files, and helpers on the PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"HOME": str(root), "PATH": f"{root}/bin:/usr/bin:/bin"}
        (root / ".docker").mkdir()
        (root / "bin").mkdir()

    def docker(self, config: dict[str, Any]) -> None:
        (self.root / ".docker" / "config.json").write_text(json.dumps(config))

    def helper(self, name: str, script: str) -> None:
        file = self.root / "bin" / f"docker-credential-{name}"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def find(self, domain: str, path: str = "team/app", host: RegistryHost = NONE) -> Credential | None:
        return find(domain, path, host, self.environ).credential

    def login(self, domain: str, path: str = "team/app", host: RegistryHost = NONE) -> Credential:
        """What is found, which must be something."""
        found = self.find(domain, path, host)
        assert found is not None
        return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_nothing_anywhere(home: Home) -> None:
    found = find("r.example", "a", NONE, home.environ)
    assert found.credential is None
    assert found.tried == ("settings",)


def test_settings_win(home: Home, tmp_path: Path) -> None:
    home.docker({"auths": {"r.example": auth("docker", "x")}})
    own = home.login("r.example", host=RegistryHost(username="own", password="p"))
    assert (own.username, own.password) == ("own", "p")
    (tmp_path / "pw").write_text("from file\n")
    own = home.login("r.example", host=RegistryHost(username="own", password_file=str(tmp_path / "pw")))
    assert own.password == "from file"


def test_a_missing_password_file_is_named(home: Home) -> None:
    with pytest.raises(Denied, match="/nowhere"):
        home.find("r.example", host=RegistryHost(username="u", password_file="/nowhere"))


@pytest.mark.parametrize("key", ["r.example", "https://r.example", "https://r.example/v1/", "http://r.example/"])
def test_spellings_of_a_host(home: Home, key: str) -> None:
    home.docker({"auths": {key: auth("u", "p:with:colons")}})
    found = home.login("r.example")
    assert (found.username, found.password) == ("u", "p:with:colons")
    assert home.find("other.example") is None


def test_docker_hub_has_a_key_of_its_own(home: Home) -> None:
    home.docker({"auths": {"https://index.docker.io/v1/": auth("hub", "p")}})
    found = home.login("docker.io", "library/redis")
    assert found.username == "hub"


def test_the_longest_path_wins(home: Home) -> None:
    keys = {"r.example": auth("host", "x"), "r.example/team": auth("team", "x"), "r.example/team/app": auth("app", "x")}
    home.docker({"auths": keys})
    names = [home.login("r.example", path).username for path in ("team/app", "team/other", "else/app")]

    assert names == ["app", "team", "host"]


def test_order_of_files(home: Home, tmp_path: Path) -> None:
    home.docker({"auths": {"r.example": auth("docker", "x")}})
    runtime = tmp_path / "run" / "containers"
    runtime.mkdir(parents=True)
    (runtime / "auth.json").write_text(json.dumps({"auths": {"r.example": auth("runtime", "x")}}))
    home.environ["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    found = home.login("r.example")
    assert found.username == "runtime"
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"auths": {"r.example": auth("given", "x")}}))
    home.environ["REGISTRY_AUTH_FILE"] = str(given)
    found = home.login("r.example")
    assert (found.username, found.source) == ("given", str(given))
    looked = find("other.example", "a", NONE, home.environ)
    assert looked.tried == ("settings", str(given), str(runtime / "auth.json"), f"{home.root}/.docker/config.json")


def test_docker_config_directory(home: Home, tmp_path: Path) -> None:
    home.environ["DOCKER_CONFIG"] = str(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"auths": {"r.example": auth("other", "x")}}))
    found = home.login("r.example")
    assert found.username == "other"


def test_identity_and_registry_tokens(home: Home) -> None:
    home.docker({"auths": {"a": {"identitytoken": "i", "auth": auth("u", "")["auth"]}, "b": {"registrytoken": "r"}}})
    a, b = home.login("a"), home.login("b")
    assert a.identity_token == "i"
    assert b.registry_token == "r"


def test_helpers(home: Home) -> None:
    home.helper("own", 'read s; echo "{\\"Username\\":\\"u-$s\\",\\"Secret\\":\\"s\\"}"')
    home.helper("token", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"refresh\\"}"')
    home.helper("empty", 'echo "credentials not found in native keychain"; exit 1')
    home.docker({"credHelpers": {"r.example": "own"}, "credsStore": "token", "auths": {"f.example": auth("file", "x")}})
    own, stored, filed = home.login("r.example"), home.login("s.example"), home.login("f.example")
    assert (own.username, own.password, own.source) == ("u-r.example", "s", "docker-credential-own")
    assert stored.identity_token == "refresh"
    assert filed.username == "file", "auths are asked before the store"
    home.docker({"credsStore": "empty"})
    assert home.find("r.example") is None


def test_the_store_is_asked_for_docker_hub_by_its_old_name(home: Home) -> None:
    home.helper("echo", 'read s; echo "{\\"Username\\":\\"$s\\",\\"Secret\\":\\"s\\"}"')
    home.docker({"credsStore": "echo"})
    found = home.login("docker.io")
    assert found.username == "https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("script", "match"),
    [("exit 3", "code 3"), ("echo no json", "did not answer with JSON"), (None, "not installed")],
)
def test_broken_helpers(home: Home, script: str | None, match: str) -> None:
    if script:
        home.helper("bad", script)
    home.docker({"credHelpers": {"r.example": "bad"}})
    with pytest.raises(Denied, match=match) as caught:
        home.find("r.example")
    assert "docker-credential-bad" in caught.value.hint
    assert home.find("other.example") is None, "not asked for others"


def test_a_helper_name_is_no_path(home: Home) -> None:
    home.docker({"credsStore": "../../bin/sh"})
    with pytest.raises(Invalid, match="plain name"):
        home.find("r.example")


@pytest.mark.parametrize("text", ["{", "\xff", "[" * 100_000])
def test_broken_files(home: Home, text: str) -> None:
    (home.root / ".docker" / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(Invalid, match=r"config\.json"):
        home.find("r.example")


@pytest.mark.parametrize("config", [{}, {"auths": []}, {"auths": {"r.example": 5}}, {"auths": {"r.example": {}}}])
def test_files_without_a_login(home: Home, config: dict[str, Any]) -> None:
    home.docker(config)
    assert home.find("r.example") is None


def test_a_broken_auth_entry(home: Home) -> None:
    home.docker({"auths": {"r.example": {"auth": "%%%"}}})
    with pytest.raises(Invalid, match="unreadable auth"):
        home.find("r.example")


def test_secrets_do_not_show() -> None:
    shown = repr(Credential("s", "u", password="hush1", identity_token="hush2", registry_token="hush3"))
    assert "hush" not in shown
