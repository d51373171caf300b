from __future__ import annotations

import json
from pathlib import Path

import pytest

from zlayer.image import credentials
from zlayer.image.logins import Logins, domain_of
from zlayer.image.settings import RegistryHost
from zlayer.model.errors import Invalid, NotFound


@pytest.mark.parametrize(
    ("written", "known"),
    [("ghcr.io", "ghcr.io"), ("https://ghcr.io/", "ghcr.io"), ("localhost:5000", "localhost:5000"),
     ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io")],
)  # fmt: skip
def test_a_registry_however_it_is_written(written: str, known: str) -> None:
    assert domain_of(written) == known


@pytest.mark.parametrize("written", ["", "redis", "ghcr.io/team", "a b.c", "../etc", "host:99999"])
def test_what_is_no_registry(written: str) -> None:
    with pytest.raises(Invalid, match="is not a registry"):
        domain_of(written)


def test_only_the_owner_reads_them_and_pulls_use_them(tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    logins = Logins(file)
    logins.put("ghcr.io", "me", "se:cret")
    logins.put("localhost:5000", "you", "x")
    assert file.stat().st_mode & 0o777 == 0o600
    assert logins.list() == {"ghcr.io": "me", "localhost:5000": "you"}
    found = credentials.find("ghcr.io", "a/b", RegistryHost(), {}, str(file)).credential
    assert found is not None
    assert (found.username, found.password) == ("me", "se:cret")
    logins.drop("ghcr.io")
    assert credentials.find("ghcr.io", "a/b", RegistryHost(), {}, str(file)).credential is None
    assert [path.name for path in tmp_path.iterdir()] == ["registries.json"]
    with pytest.raises(NotFound, match="not logged in"):
        logins.drop("ghcr.io")


def test_the_configuration_goes_before_a_login(tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    Logins(file).put("ghcr.io", "me", "x")
    found = credentials.find("ghcr.io", "a", RegistryHost(username="set", password="y"), {}, str(file)).credential
    assert found is not None
    assert found.username == "set"


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "registries.json"
    file.write_text("{")
    with pytest.raises(Invalid, match="not readable JSON"):
        Logins(file).list()
    file.write_text(json.dumps({"auths": {"h": {"auth": "%%%"}, "g": 5}}))
    assert Logins(file).list() == {"g": "", "h": ""}
